// clipbridge
// SPDX-License-Identifier: Apache-2.0

#pragma once

/// Hands every job that Swift would give to its global executor to `take` instead, from whatever thread it comes.
/// A job is to be run once. It holds for the whole process, from now on.
void task_hooks_capture(void (*take)(void *job));
