// The demo's page: a photograph goes up, and a line of JSON comes back for each codec's file. `files` holds them by name.
const data = JSON.parse($("data").textContent);
const WAIT = 150; // Milliseconds that the slider must rest.
let photo = null, files = {}, address = "", asked = null, timer = 0, choice = 0;
const sides = { left: "ours", right: data.codecs[1]?.name ?? "original" };
Object.assign(view, { mode: "split", flipped: false, map: false });

function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
  if (error) $("status").scrollIntoView({ block: "nearest" });
}

/** What is taught of an answer that is no success: its one line. */
async function refusal(answer) {
  try { return (await answer.json()).error; } catch { return `the server failed (${answer.status})`; }
}

// ---- a photograph
async function take(path, body) {
  const mine = ++choice;
  clearTimeout(timer);
  asked?.abort();
  say("Reading the photograph.");
  try {
    const answer = await fetch(path, { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } });
    const said = answer.ok ? await answer.json() : null, line = answer.ok ? "" : await refusal(answer);
    if (mine !== choice) return;
    if (!said) return say(line, true);
    photo = said;
    files = {};
    Object.assign(view, { zoom: 1, x: 0, y: 0, flipped: false });
    $("viewer").hidden = false;
    $("notes").textContent = [`${photo.name}: ${photo.width} × ${photo.height} pixels.`, ...photo.notes].join(" ");
    build();
    ask();
  } catch (error) {
    if (mine === choice) say(`the server does not answer: ${error.message}`, true);
  }
}
function upload(file) {
  if (!file) return;
  if (file.size > data.limit) return say(`${file.name} has more than ${data.limit / 1e6} MB: scale it down first`, true);
  return take(`photos?name=${encodeURIComponent(file.name)}`, file);
}

// ---- its files
function later() {
  clearTimeout(timer);
  label();
  timer = setTimeout(ask, WAIT);
}

async function ask() {
  if (!photo) return;
  clearTimeout(timer);
  asked?.abort();
  const mine = asked = new AbortController();
  const place = `photos/${photo.id}/${$("tune").value || "visual"}/${$("slider").value}`;
  if (place !== address) for (const file of Object.values(files)) file.stale = true;
  address = place;
  say("");
  progress(0);
  refresh();
  try {
    const answer = await fetch(place + (view.map ? "?map" : ""), { signal: mine.signal });
    if (!answer.ok) return end(await refusal(answer));
    for await (const line of lines(answer.body)) {
      if (mine !== asked) return;
      if (line.error) return end(line.error);
      if (line.progress != null) { progress(line.progress); continue; }
      const src = `${place}/${line.name}`;
      await decoded(src);
      if (mine !== asked) return;
      files[line.name] = { ...line, src };
      refresh();
    }
    end("");
  } catch (error) {
    if (error.name !== "AbortError" && mine === asked) end(`the server does not answer: ${error.message}`);
  }
}
function end(line) {
  $("progress").hidden = true;
  label();
  say(line, Boolean(line));
}
function progress(done) {
  $("progress").hidden = false;
  $("progress").value = done;
}

async function* lines(body) {
  const reader = body.getReader(), decoder = new TextDecoder();
  for (let text = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (text + decoder.decode(value, { stream: true })).split("\n");
    text = parts.pop();
    for (const part of parts) yield JSON.parse(part);
  }
}
/** Waits until a picture can be shown at once. */
async function decoded(src) {
  const image = new Image();
  image.src = src;
  try { await image.decode(); } catch { throw new Error("a picture did not come"); }
}

// ---- what is shown
const titled = name => name === "original" ? "original" : data.codecs.find(codec => codec.name === name).title;
/** Names of the left and the right half. */
const pair = () => [$("left").value, $("right").value];
const source = name => name === "original" || !files[name] ? `photos/${photo.id}` : files[name].src;
/** The name of a picture that is shown, and truly what it is. */
const tagged = name => name === "original" || !files[name] ? "original" : `${titled(name)}${files[name].stale ? "\n(before)" : ""}`;

function build() {
  const split = view.mode === "split";
  $("panes").style.setProperty("--ratio", photo.width / photo.height);
  const images = split ? [{ title: "" }, { title: "", half: "right" }] : [{ title: "" }];
  const made = figure(photo, images, split ? ["left", "right"] : ["left"]), stage = made.firstChild;
  const heat = make("img", { className: "heat", alt: "where the bits went", draggable: false, hidden: true });
  stage.insertBefore(heat, stage.querySelector(".tag"));
  if (split) stage.append(divider(stage));
  draggable(stage);
  $("panes").replaceChildren(made);
  for (const id of ["split", "flip"]) $(id).setAttribute("aria-pressed", id === view.mode);
  refresh();
}

function refresh() {
  if (!photo) return;
  const stage = $("panes").querySelector(".stage"), heat = stage.querySelector(".heat");
  const shown = view.mode === "split" ? pair() : [pair()[view.flipped ? 1 : 0]];
  const ours = shown.indexOf("ours"), warm = view.map && files.map && !files.map.stale && ours >= 0;
  stage.querySelectorAll("img:not(.heat)").forEach((image, k) => {
    const src = new URL(source(shown[k]), location.href).href;
    if (image.src !== src) image.src = src;
    image.alt = tagged(shown[k]);
    image.classList.toggle("under", warm && k === ours);
  });
  stage.querySelectorAll(".tag").forEach((tag, k) => { tag.textContent = tagged(shown[k]); });
  heat.hidden = $("legend").hidden = !warm;
  if (warm) {
    heat.src = files.map.src;
    if (view.mode === "split") heat.dataset.half = ["left", "right"][ours];
    // Its colours go by square roots: a third of the way is a ninth of the bits.
    const marks = [0, 1, 4, 9].map(part => make("span", { textContent: Math.round(files.map.most * part / 9) }));
    $("marks").replaceChildren(...marks);
  }
  const elsewhere = view.map && ours < 0 && `The heat map is that of ${titled("ours")}, which is not shown.`;
  stage.nextSibling.textContent = elsewhere || "";
  $("map").setAttribute("aria-pressed", view.map);
  tabulate();
  label();
  place();
}

function tabulate() {
  const rows = data.codecs.map(({ name, title, colour }) => {
    const file = files[name], swatch = make("i", { className: "swatch" });
    swatch.style.borderColor = colour;
    const over = file && files.ours && !file.stale && file.bytes > files.ours.bytes ? ", its smallest" : "";
    const cells = file ? [file.bytes.toLocaleString("en"), file.bpp.toFixed(3), file.psnr.toFixed(2), file.ms_ssim?.toFixed(4) ?? "–"] : ["…", "…", "…", "…"];
    const row = make("tr", { className: !file || file.stale ? "stale" : "" }, make("td", {}, swatch, title + over), ...cells.map(textContent => make("td", { textContent })));
    row.dataset.name = name;
    return row;
  });
  $("numbers").tBodies[0].replaceChildren(...rows);
  const ours = files.ours, ready = ours && !ours.stale;
  $("download").hidden = !ready;
  if (ready) {
    $("download").href = `${ours.src}/file`;
    $("download").download = `${photo.name.replace(/\.[^.]*$/, "")}.rnnc`;
    $("download").textContent = `download ${$("download").download}, ${ours.bytes.toLocaleString("en")} bytes`;
  }
}

function label() {
  const ours = files.ours, at = `${data.scale.name} ${$("slider").value}`;
  const known = ours && !ours.stale && ours.setting === +$("slider").value;
  const text = known ? `${at}: ${ours.bpp.toFixed(3)} bits per pixel` : at;
  $("rate").textContent = text;
  $("slider").setAttribute("aria-valuetext", text);
}

// ---- controls
/** What a side is to show; what stood there goes to the other side where both were the same. */
function choose(side, other) {
  if ($(side).value === $(other).value) $(other).value = sides[side];
  for (const one of [side, other]) sides[one] = $(one).value;
  refresh();
}
function setMode(mode) { Object.assign(view, { mode, flipped: false }); if (photo) build(); }
/** The first press shows the left one, each one more the other. */
function flip() {
  if (view.mode !== "flip") return setMode("flip");
  view.flipped = !view.flipped;
  refresh();
}
function toggleMap() {
  view.map = !view.map;
  if (view.map && !(files.map && !files.map.stale)) ask(); else refresh();
}
function step(by) {
  $("slider").value = +$("slider").value + by;
  later();
}

$("host").textContent = location.hostname;
Object.assign($("slider"), { max: data.scale.last, value: data.scale.start });
$("slider").setAttribute("aria-label", data.scale.name);
for (const tune of data.tunes) $("tune").append(make("option", { value: tune, textContent: `tuned ${tune}` }));
$("tune").hidden = !data.tunes.length;
$("map").hidden = !data.map;
for (const [side, other] of [["left", "right"], ["right", "left"]]) {
  for (const { name, title } of data.codecs) $(side).append(make("option", { value: name, textContent: title }));
  $(side).append(make("option", { value: "original", textContent: "the original" }));
  $(side).value = sides[side];
  $(side).onchange = () => choose(side, other);
}
for (const name of data.samples) $("samples").append(make("button", { title: name, onclick: () => take(`samples/${name}`) }, make("img", { src: `samples/${name}`, alt: name })));
$("choose").onchange = () => { upload($("choose").files[0]); $("choose").value = ""; };
$("slider").oninput = later;
$("tune").onchange = ask;
$("split").onclick = () => setMode("split");
$("flip").onclick = flip;
$("map").onclick = toggleMap;
$("in").onclick = () => zoomBy(1);
$("out").onclick = () => zoomBy(-1);
addEventListener("dragover", event => event.preventDefault());
addEventListener("dragenter", () => document.body.classList.add("over"));
addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", event => { event.preventDefault(); document.body.classList.remove("over"); upload(event.dataTransfer.files[0]); });
document.addEventListener("keydown", event => {
  if (!photo || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), s: () => setMode("split"), f: flip, h: () => data.map && toggleMap(),
    "[": () => moveDivider(view.divider - .02), "]": () => moveDivider(view.divider + .02),
    "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1) }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) { event.preventDefault(); act(); }
});
