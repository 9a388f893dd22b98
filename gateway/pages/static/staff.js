// Frames of the camera go to the gateway, which reads the code: no decoder need be loaded on a slow phone.
"use strict";
const me = document.currentScript;
const words = JSON.parse(me.dataset.text);
const base = `/staff/${encodeURIComponent(me.dataset.venue)}`;
const $ = (id) => document.getElementById(id);
let seen = "", seenAt = 0, busy = false;

const element = (tag, text, name) => {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
};
const post = async (path, body, type) => {
  const answer = await fetch(base + path, { method: "POST", body, headers: { "Content-Type": type || "application/json" } });
  const said = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(said && said.detail ? said.detail : answer.statusText);
  return said;
};
const decide = async (ticket, admitted) => {
  show(await post("/answer", JSON.stringify({ ticket, admitted })));
  look();
};
const show = (said) => {
  const box = $("answer");
  box.className = "answer " + said.outcome;
  box.replaceChildren(element("p", said.word, "word"), element("p", said.todo));
  if (said.outcome === "check" && said.ticket) {
    for (const [admitted, name] of [[true, "admit"], [false, "refuse"]]) {
      const button = element("button", words[name], name);
      button.onclick = () => decide(said.ticket, admitted).catch(fault);
      box.append(button);
    }
  }
};
const fault = (error) => {
  $("answer").className = "answer refuse";
  $("answer").replaceChildren(element("p", error.message));
};

const frame = async (video, canvas) => {
  if (busy || !video.videoWidth) return;
  busy = true;
  try {
    const scale = Math.min(1, 640 / video.videoWidth);
    canvas.width = video.videoWidth * scale;
    canvas.height = video.videoHeight * scale;
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const picture = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.7));
    const read = await post("/frame", picture, "image/jpeg");
    if (read && !(read.code === seen && Date.now() - seenAt < 5000)) {
      seen = read.code;
      seenAt = Date.now();
      show(await post("/card", JSON.stringify({ code: read.code, kind: $("kind").value })));
    }
  } catch (error) { fault(error); } finally { busy = false; }
};
$("start").onclick = async () => {
  try {
    const video = $("camera");
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await video.play();
    video.classList.remove("hidden");
    $("start").classList.add("hidden");
    const canvas = document.createElement("canvas");
    setInterval(() => frame(video, canvas), 400);
  } catch { $("nocamera").classList.remove("hidden"); }
};
$("typed").onsubmit = (event) => {
  event.preventDefault();
  post("/typed", JSON.stringify({ identity: $("identity").value, kind: $("kind").value })).then((said) => {
    $("identity").value = "";
    show(said);
  }).catch(fault);
};
const recount = (inside) => post("/recount", JSON.stringify({ inside })).then(() => {
  $("answer").className = "answer";
  $("answer").replaceChildren(element("p", words.recounted));
}).catch(fault);
$("recount").onsubmit = (event) => { event.preventDefault(); recount(Number($("counted").value)); };
$("out").onclick = () => { if (confirm(words.everyone_out_sure)) recount(0); };

const look = async () => {
  const answer = await fetch(base + "/waiting");
  if (!answer.ok) return;
  const { waiting, load } = await answer.json();
  $("nobody").classList.toggle("hidden", waiting.length > 0);
  $("waiting").replaceChildren(...waiting.map((one) => {
    const line = element("li", "");
    line.append(element("strong", one.number));
    for (const [admitted, name] of [[true, "admit"], [false, "refuse"]]) {
      const button = element("button", words[name], name);
      button.onclick = () => decide(one.ticket, admitted).catch(fault);
      line.append(button);
    }
    return line;
  }));
  $("load").firstElementChild.textContent = load.line;
  const gauge = $("load").querySelector("progress");
  if (gauge) {
    gauge.value = load.percent;
    gauge.className = "gauge " + load.state;
  }
};
setInterval(() => look().catch(() => {}), 2000);
look().catch(() => {});
