// clipbridge
// SPDX-License-Identifier: Apache-2.0

#include "task_hooks.h"

#include <stdlib.h>

// Of the runtime's swift/Runtime/Concurrency.h, where the hooks are public for exactly this.
typedef struct Job Job;
typedef __attribute__((swiftcall)) void (*enqueue_original)(Job *);
typedef __attribute__((swiftcall)) void (*delay_original)(unsigned long long, Job *);

extern __attribute__((swiftcall)) void (*swift_task_enqueueGlobal_hook)(Job *, enqueue_original);
extern __attribute__((swiftcall)) void (*swift_task_enqueueMainExecutor_hook)(Job *, enqueue_original);
extern __attribute__((swiftcall)) void (*swift_task_enqueueGlobalWithDelay_hook)(
    unsigned long long, Job *, delay_original);

static void (*taker)(void *);

static __attribute__((swiftcall)) void enqueue(Job *job, enqueue_original original) {
    (void)original;
    taker(job);
}

// Real time has no place in a simulation: whoever asks for it is to be found at once.
static __attribute__((swiftcall)) void enqueue_delayed(
    unsigned long long delay, Job *job, delay_original original) {
    (void)delay, (void)job, (void)original;
    abort();
}

void task_hooks_capture(void (*take)(void *job)) {
    taker = take;
    swift_task_enqueueGlobal_hook = enqueue;
    swift_task_enqueueMainExecutor_hook = enqueue;
    swift_task_enqueueGlobalWithDelay_hook = enqueue_delayed;
}
