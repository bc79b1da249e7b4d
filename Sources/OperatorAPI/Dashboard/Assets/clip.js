// clipbridge: fetches a clip's page anew when the clip changes, and puts its parts in their places.

import { announce, listen } from "./live.js";

const clip = document.getElementById("clip");
let isDue = false;
let status = clip.querySelector(".badge").textContent;

listen(clip.dataset.seq, (changed) => {
    if (changed.uid !== clip.dataset.uid || isDue) return;
    isDue = true;
    setTimeout(refresh, 700);
});

async function refresh() {
    isDue = false;
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    // A document made so runs nothing, and the server has escaped what is not its own.
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of clip.querySelectorAll("[data-part]")) {
        const next = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
        // What somebody is at stays as it is, until the next change.
        if (!next || part.contains(document.activeElement) || part.querySelector("details[open]")) continue;
        if (part.innerHTML !== next.innerHTML) part.replaceWith(next);
    }
    const now = clip.querySelector(".badge").textContent;
    if (now !== status) announce(`The clip is in ${now}`);
    status = now;
}
