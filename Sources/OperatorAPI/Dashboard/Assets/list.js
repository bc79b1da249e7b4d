// clipbridge: keeps the list of clips, the counts and the health panel as they are now.

import { bytes, duration } from "./format.js";
import { announce, listen } from "./live.js";

const list = document.getElementById("clips");
const body = document.getElementById("rows");
const blank = document.getElementById("row").content.querySelector("tr");
const empty = document.getElementById("empty");
const { seq, status: wanted, search } = list.dataset;
const isFirstPage = list.dataset.first === "true";
const rowsMax = Number(list.dataset.max);

/** The rows of the page by uid, and the parts of each that change. */
const rows = new Map();
for (const row of body.rows) rows.set(row.dataset.uid, parts(row));

function parts(row) {
    const part = (name) => row.querySelector(`[data-f=${name}]`);
    return {
        row, progress: row.querySelector("progress"), title: row.querySelector(".title"), link: row.querySelector("a"),
        uid: part("uid"), status: part("status"), percent: part("percent"), rate: part("rate"), since: part("since"),
        attempt: part("attempt"),
    };
}

function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
}

/** What moves by itself can be stopped. */
let isPaused = false;

// Changes wait for a frame, and of several of one clip the last counts. A table that gets rows is laid out anew, so that
// after newcomers there is a pause: what comes meanwhile comes at once.

const waiting = new Map();
let isFrameDue = false;
const pauseAfterNewcomers = 250;

function take(clip) {
    // In the order of their changes: a clip that changes again goes behind the others.
    waiting.delete(clip.uid);
    waiting.set(clip.uid, clip);
    schedule();
    askForSummary();
}

function schedule(milliseconds = 0) {
    if (isFrameDue || isPaused) return;
    isFrameDue = true;
    // Frames do not come while the page is hidden; the map keeps one entry for each clip at most.
    setTimeout(() => requestAnimationFrame(draw), milliseconds);
}

function draw() {
    isFrameDue = false;
    if (isPaused) return;
    const newcomers = [];
    for (const clip of waiting.values()) {
        const known = rows.get(clip.uid);
        if (known && !belongs(clip)) remove(known);
        else if (known) update(known, clip);
        else if (isFirstPage && belongs(clip)) newcomers.push(clip);
    }
    // Nothing moves under the hand or the keyboard: newcomers wait until the list is let go of.
    waiting.clear();
    const shown = newcomers.slice(-rowsMax);
    if (shown.length && isHeld()) for (const clip of shown) waiting.set(clip.uid, clip);
    else if (shown.length) insert(shown);
    const isEmpty = rows.size === 0;
    if (empty.hidden === isEmpty) empty.hidden = !isEmpty;
}

const isHeld = () => body.matches(":hover") || body.contains(document.activeElement);
for (const kind of ["mouseleave", "focusout"]) body.addEventListener(kind, () => waiting.size && schedule());

function belongs(clip) {
    if (wanted && clip.status !== wanted) return false;
    if (!search) return true;
    const needle = search.toLowerCase();
    return clip.uid.toLowerCase().includes(needle) || nameOf(clip).toLowerCase().includes(needle);
}

function nameOf(clip) {
    const name = clip.processing_details.name;
    return typeof name === "string" ? name : "";
}

/** Puts clips before all others, the last one first; as many of the oldest go. */
function insert(clips) {
    for (let over = rows.size + clips.length - rowsMax; over > 0; over -= 1) {
        remove(rows.get(body.lastElementChild.dataset.uid));
    }
    body.prepend(...clips.map(newRow).reverse());
    schedule(pauseAfterNewcomers);
}

function newRow(clip) {
    const row = blank.cloneNode(true);
    row.dataset.uid = clip.uid;
    const made = parts(row);
    made.link.href = `/clips/${clip.uid}`;
    made.uid.textContent = clip.uid;
    rows.set(clip.uid, made);
    update(made, clip);
    return row;
}

function remove(known) {
    rows.delete(known.row.dataset.uid);
    known.row.remove();
}

function update(known, clip) {
    const status = clip.status ?? "";
    if (known.status.textContent !== status) {
        if (status === "error") announce(`${nameOf(clip) || clip.uid} stopped with an error`);
        known.status.textContent = status;
        const tone = `s-${/^\w+$/.test(status) ? status : "none"}`;
        known.status.className = `badge ${tone}`;
        known.progress.className = tone;
        known.since.dateTime = clip.updated_at;
        write(known.since, duration((Date.now() + skew - Date.parse(clip.updated_at)) / 1000));
    }
    write(known.title, nameOf(clip));
    known.progress.value = clip.progress;
    write(known.percent, `${Math.floor(clip.progress)} %`);
    write(known.rate, rate(clip.processing_details));
    const attempt = clip.next_action?.attempt ?? 0;
    write(known.attempt, attempt > 0 ? String(attempt + 1) : "");
    picture(known, clip.processing_details.thumbnail_url);
}

function rate(details) {
    const perSecond = details.transfer_bytes_per_second;
    if (typeof perSecond !== "number") return "";
    const left = details.transfer_seconds_left;
    return `${bytes(perSecond)}/s` + (typeof left === "number" ? `, ${duration(left)} left` : "");
}

/** Pictures come from Cloudflare's own hosts or not at all. */
function picture(known, url) {
    if (typeof url !== "string" || known.link.querySelector("img")) return;
    if (!/^https:\/\/[a-z0-9.-]+\.(cloudflarestream\.com|videodelivery\.net)\//.test(url)) return;
    const image = new Image(64, 36);
    image.alt = "";
    image.loading = "lazy";
    image.src = url;
    known.link.prepend(image);
}

// Ages grow by the server's clock.

let skew = 0;

function grow() {
    if (document.hidden || isPaused) return;
    for (const { since } of rows.values()) {
        write(since, duration((Date.now() + skew - Date.parse(since.dateTime)) / 1000));
    }
}
setInterval(grow, 1000);

// Counts and health: at most once a second after a change, and every five seconds without.

let summaryDue = 0;

function askForSummary(milliseconds = 1000) {
    summaryDue ||= setTimeout(refresh, milliseconds);
}

async function refresh() {
    try {
        if (document.hidden || isPaused) return;
        const answer = await fetch("/dashboard/summary", { headers: { accept: "application/json" } });
        if (answer.status === 401) location.reload();
        if (answer.ok) show(await answer.json());
    } catch {
        // The stream's sign tells that the bridge is away.
    } finally {
        summaryDue = 0;
        setTimeout(() => askForSummary(0), 5000);
    }
}

function show(summary) {
    skew = Date.parse(summary.now) - Date.now();
    for (const { status, count, x, width } of summary.statuses) {
        write(document.querySelector(`[data-count="${status}"]`), count);
        const share = document.querySelector(`[data-share="${status}"]`);
        share.setAttribute("x", `${x}%`);
        share.setAttribute("width", `${width}%`);
    }
    for (const { key, value, note, level, link } of summary.health) {
        const item = document.querySelector(`[data-health="${key}"]`);
        item.className = level;
        write(item.querySelector(".value"), value);
        const noteElement = item.querySelector(".note");
        const target = noteElement.querySelector("a");
        if (target && link) {
            target.href = link;
            write(target, note);
        } else if (link) {
            const made = document.createElement("a");
            made.href = link;
            made.textContent = note;
            noteElement.replaceChildren(made);
        } else {
            write(noteElement, note);
        }
    }
}

const pause = document.createElement("button");
pause.type = "button";
pause.textContent = "Pause";
pause.setAttribute("aria-pressed", "false");
pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    if (!isPaused && waiting.size) schedule();
});
document.querySelector(".filter").append(pause);

refresh();
listen(seq, take);
