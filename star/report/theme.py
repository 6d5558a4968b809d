"""The page's style sheet and the few lines of script that show what lies under the pointer."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --card: #fff; --ink: #1c2430; --soft: #5b6675; --grid: #e6e9ee;
  --front: #0b66c3; --population: #8d97a5; --evaluated: #d3d8df; --baseline: #c2500a; --lit: #e0197d; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --card: #181d25; --ink: #e4e8ee; --soft: #98a3b3;
  --grid: #2a313c; --front: #5aa9ff; --population: #77818f; --evaluated: #3a434f; --baseline: #ff9d5c;
  --lit: #ff6bb5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1480px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .3rem; }
p { margin: .2rem 0 .8rem; color: var(--soft); max-width: 75ch; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 2.2rem; margin: 1rem 0 0; }
.facts div { display: flex; flex-direction: column; } .facts dt { color: var(--soft); font-size: .8rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 1rem; }
.card { border: 1px solid var(--grid); border-radius: 10px; padding: .7rem; background: var(--card); max-width: 720px; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; color: var(--soft); font-size: .85rem;
  margin: .3rem 0 .6rem; }
.key i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; }
.key i.square { border-radius: 2px; }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
svg text.title { font-size: 12px; fill: var(--ink); } svg text.baseline { fill: var(--baseline);
  paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
.grid { stroke: var(--grid); fill: none; }
.evaluated { stroke: var(--evaluated); stroke-width: 4; stroke-linecap: round; }
circle.population { fill: var(--population); } circle.front { fill: var(--front); stroke: var(--card); }
path.baseline { fill: var(--baseline); }
.steps { fill: none; stroke: var(--front); stroke-width: 1.3; opacity: .55; }
polyline.line { fill: none; stroke-width: 2; } .line0 { stroke: var(--front); } .line1 { stroke: var(--population); }
circle.mark.line0 { fill: var(--front); } circle.mark.line1 { fill: var(--population); }
circle.lit { fill: var(--lit); stroke: var(--lit); stroke-width: 4; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th { text-align: left; color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--grid); }
th, td { padding: .32rem .8rem .32rem 0; white-space: nowrap; } td { border-bottom: 1px solid var(--grid); }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.best { font-weight: 650; color: var(--front); }
tr.lit td { background: color-mix(in srgb, var(--lit) 14%, transparent); }
code { font: .82rem ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.strip { display: flex; gap: 2px; } .strip i { width: 15px; height: 15px; border-radius: 3px; }
.strip i.shared { box-shadow: inset 0 0 0 2px var(--card), inset 0 0 0 3px var(--ink); }
#tip { position: fixed; pointer-events: none; display: none; white-space: pre-wrap; max-width: 30rem; z-index: 2;
  overflow-wrap: anywhere;
  background: var(--ink); color: var(--paper); padding: .5rem .7rem; border-radius: 7px; font-size: .82rem; }
"""

SCRIPT = """
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
"""
