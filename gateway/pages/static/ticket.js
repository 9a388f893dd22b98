// The clock runs, so that a picture of a ticket is seen to be one; a waiting ticket asks until the guard has answered.
"use strict";
const me = document.currentScript;
const ahead = Number(me.dataset.now) - Date.now(); // the gateway's clock is the one that counts
const clock = document.getElementById("clock");
const tick = () => {
  const here = new Date(Date.now() + ahead + Number(me.dataset.offset) * 60000);
  clock.textContent = here.toISOString().slice(0, 19).replace("T", " ");
};
tick();
setInterval(tick, 1000);
if (me.dataset.waiting === "yes") setTimeout(() => location.reload(), 2000);
