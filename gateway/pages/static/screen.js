// Live occupancy by server-sent events; the code is fetched anew before it runs out.
"use strict";
const main = document.querySelector("main");
const words = JSON.parse(main.dataset.text);
const venue = encodeURIComponent(main.dataset.venue);
const show = (load) => {
  document.getElementById("inside").textContent = load.inside === null ? "–" : load.inside;
  document.getElementById("of").textContent = load.of;
  const gauge = document.getElementById("gauge");
  gauge.className = "gauge " + load.state;
  gauge.value = load.percent;
  const state = document.getElementById("state");
  state.className = "state " + load.state;
  state.textContent = load.word;
};
const events = new EventSource(`/screen/${venue}/events`);
events.addEventListener("load", (event) => show(JSON.parse(event.data)));
events.addEventListener("code", (event) => { document.getElementById("code").innerHTML = JSON.parse(event.data).svg; });
events.onerror = () => {
  const state = document.getElementById("state");
  state.className = "state old";
  state.textContent = words.old;
};
