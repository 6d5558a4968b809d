const tips = JSON.parse(document.getElementById("tips").textContent), tip = document.getElementById("tip");
let lit = [];
document.addEventListener("pointerover", event => {
  const under = event.target.closest("[data-tip], [data-id]"), id = under?.dataset.id;
  lit.forEach(each => each.classList.remove("lit"));
  lit = id ? [...document.querySelectorAll(`[data-id="${id}"]`)] : [];
  lit.forEach(each => each.classList.add("lit"));
  const text = under && (under.dataset.tip ?? (under.matches("tr") ? "" : tips[id]));
  tip.textContent = text ?? "";
  tip.style.display = text ? "block" : "none";
});
document.addEventListener("pointermove", event => {
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
  tip.style.top = (event.clientY + 20 + box.height > innerHeight ? event.clientY - box.height - 12
    : event.clientY + 18) + "px";
});
