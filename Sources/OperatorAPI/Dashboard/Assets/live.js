// clipbridge: the stream of changes, read once for each page.

const sign = document.getElementById("live");

function show(word, kind) {
    if (sign.textContent === word) return;
    sign.hidden = false;
    sign.className = `live ${kind}`;
    sign.textContent = word;
}

/** Calls `onClip` for every clip that changes after `seq`. The browser goes on by itself after a cut, from the last event. */
export function listen(seq, onClip) {
    const source = new EventSource(`/api/events?last_event_id=${encodeURIComponent(seq)}`);
    source.addEventListener("open", () => show("Live", "on"));
    source.addEventListener("clip", (event) => onClip(JSON.parse(event.data), event.lastEventId));
    source.addEventListener("error", () => {
        show("Reconnecting", "off");
        // An answer that is no stream ends it for good: the session is over, or all places are taken.
        if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
    });
    addEventListener("pagehide", () => source.close());
    // A page that the browser kept and shows again has missed what happened.
    addEventListener("pageshow", (event) => event.persisted && location.reload());
}

const announcer = document.getElementById("announcer");

/** For people who do not see the page; only what they would want to be told. */
export function announce(text) {
    announcer.textContent = text;
}
