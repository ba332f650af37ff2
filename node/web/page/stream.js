// Takes snapshots from /events and shows each in every section.
"use strict";

const STALE_AFTER = 3500; // milliseconds without a snapshot

function show(s) {
  remember(s);
  for (const section of sections) section(s);
}

learn();

let stream = null;
let heard = 0; // when the last snapshot came, by this browser's clock

function connect() {
  stream?.close();
  stream = new EventSource("events");
  stream.onmessage = (e) => {
    heard = Date.now();
    show(JSON.parse(e.data));
    freshness();
  };
  stream.onopen = stream.onerror = freshness;
}

// freshness shows or hides the banner.
function freshness() {
  if (document.hidden) return;
  const stale = Date.now() - heard > STALE_AFTER || stream.readyState !== EventSource.OPEN;
  document.body.classList.toggle("stale", stale && heard > 0);
  const banner = $("stale");
  const text = !stale ? "" : heard ? `No news from the node since ${new Date(heard).toLocaleTimeString()}. Trying again.` : "No answer from the node yet. Trying again.";
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !stale;
  if (stale) {
    put($("state"), "out of touch");
    $("state").className = "pill";
  }
}

// Browsers give up on a stream for good when the answer is an error; this does not.
function watch() {
  freshness();
  if (!document.hidden && stream.readyState === EventSource.CLOSED) connect();
}

// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stream.close();
  else connect();
});

connect();
setInterval(watch, 1000);
