// The playback URL stands in the fragment, which is never sent to anybody. HLS goes through hls.js where this server has it
// and the browser can use it, else to the browser; other media natively; documents become a link. What the gateway refuses
// is said in its own words, with its code.
"use strict";
const at = (id) => document.getElementById(id);
const video = at("video"), audio = at("audio"), open = at("open"), link = at("link"), says = at("says");
let hls = null, turn = 0;

function say(text, refused) {
  says.textContent = text;
  says.className = refused ? "refused" : "";
}

function clear() {
  if (hls) hls.destroy();
  hls = null;
  for (const media of [video, audio]) {
    media.hidden = true;
    media.removeAttribute("src");
    media.load();
  }
  open.hidden = true;
}

// Why did it not play? Ask for one byte and read the answer.
async function explain(url, fallback) {
  const mine = turn;
  let text = fallback;
  try {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" }, referrerPolicy: "no-referrer" });
    if (!answer.ok) {
      const why = await answer.json();
      text = `This lesson cannot be played: ${why.message} (${why.code})`;
    }
  } catch (error) {
    text = `${fallback} (${error.message})`;
  }
  if (mine === turn) say(text, true);
}

function play(media, url) {
  media.hidden = false;
  media.play().catch(() => {
    media.muted = true;
    media.play().catch(() => say("Press play."));
  });
}

function native(media, url) {
  media.onerror = () => media.getAttribute("src") && explain(url, "Your browser cannot play this.");
  media.onplaying = () => say("");
  media.src = url;
  play(media, url);
}

let asked = null;
function library() {
  asked ||= new Promise((done) => {
    const script = document.createElement("script");
    script.src = "/watch/hls.min.js";
    script.onload = () => done(window.Hls && window.Hls.isSupported() ? window.Hls : null);
    script.onerror = () => done(null);
    document.head.append(script);
  });
  return asked;
}

async function playHls(url) {
  const mine = turn, Hls = await library();
  if (mine !== turn) return;
  if (!Hls) {
    if (video.canPlayType("application/vnd.apple.mpegurl")) native(video, url);
    else say("This browser plays HLS only with hls.js, which this server does not have (see docs/operators.md).", true);
    return;
  }
  hls = new Hls({ enableWorker: false });
  hls.subtitleDisplay = true;
  hls.on(Hls.Events.MANIFEST_PARSED, () => play(video, url));
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (data.fatal) explain(url, `The player gave up: ${data.details}`);
  });
  video.onplaying = () => say("");
  hls.loadSource(url);
  hls.attachMedia(video);
}

function document_(url, name) {
  link.href = url;
  link.textContent = `Open ${name}`;
  open.hidden = false;
  say("");
  explainIfRefused(url);
}

async function explainIfRefused(url) {
  const answer = await fetch(url, { method: "HEAD", referrerPolicy: "no-referrer" }).catch(() => null);
  if (answer && !answer.ok) {
    open.hidden = true;
    explain(url, "This lesson cannot be opened.");
  }
}

function start() {
  turn++;
  clear();
  const text = location.hash.slice(1);
  if (!text) return;
  let url;
  try {
    url = new URL(text, location.origin);
  } catch {
    say("That is not a URL.", true);
    return;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    say("That is not a playback URL.", true);
    return;
  }
  say("Loading ...");
  const name = decodeURIComponent(url.pathname.slice(url.pathname.lastIndexOf("/") + 1));
  const ending = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  if (ending === "m3u8") playHls(url.href);
  else if (["mp3", "m4a", "aac", "ogg", "opus", "flac", "wav"].includes(ending)) native(audio, url.href);
  else if (["mp4", "m4v", "webm", "mov", "ts", "mkv"].includes(ending)) native(video, url.href);
  else document_(url.href, name);
}

addEventListener("hashchange", start);
start();
