// The page of usher: all pods, and the life of each, as the server tells them. Whatever a pod said is put into the page as text,
// never as markup; the server's policy would refuse anything else.
"use strict";

const SESSION = "usher-session";
const THEME = "usher-theme";
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const LOG_LINES_MAX = 5000;

const main = document.getElementById("main");
/** The bar or sign that was chosen to be read about: its row, and which of the row. */
let picked = null;
let me = null;
/** Ends what the present view keeps open. */
let view = new AbortController();

// ---------------------------------------------------------------- making elements

/** An element with attributes, listeners (names that begin with `on`) and children; text stays text. */
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts an element at a part of its parent's width. */
function place(element, from, to) {
  element.style.left = `${(from * 100).toFixed(3)}%`;
  if (to !== undefined) element.style.width = `${Math.max(to - from, 0) * 100}%`;
  return element;
}

function ago(millis) {
  const seconds = Math.max(0, Math.round((Date.now() - millis) / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

// ---------------------------------------------------------------- talking to the server

class Refused extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(SESSION);
  const headers = { ...(options.headers ?? {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.message ?? `the server answers ${answer.status}`);
}

function post(path, body, method = "POST") {
  return ask(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Server-sent events of one answer, as they come. */
async function* events(path, signal) {
  const answer = await ask(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const field = (name) => block.split("\n").filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join("\n");
      yield { name: field("event"), data: field("data") };
    }
  }
}

/** Follows a stream for as long as the view is open; begins anew when it breaks. `take` says when it is enough. */
async function follow(path, signal, take) {
  for (let tries = 0; !signal.aborted; ) {
    try {
      for await (const event of events(path, signal)) {
        tries = 0;
        if (event.name && take(event.name, JSON.parse(event.data))) return told("none", "");
        told("live", "live");
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.code === 401) return leave("Your session has ended.");
      if (error instanceof Refused && error.code < 500 && error.code !== 429) return show(el("p", { class: "empty" }, error.message));
      told("lost", "the server cannot be reached; trying again");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]));
  }
}

/** Says how fresh the page is. */
function told(state, words) {
  const link = document.getElementById("link");
  link.hidden = state === "none";
  if (link.textContent !== words) link.textContent = words;
  link.className = state === "lost" ? "link lost" : "link";
}

// ---------------------------------------------------------------- the frame

function show(...content) { main.replaceChildren(...content.flat()); }

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const chosen = () => localStorage.getItem(THEME);
  const apply = () => {
    const name = chosen() ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", name === "dark" ? "Use light colours" : "Use dark colours");
  };
  dark.addEventListener("change", apply);
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    // Who chooses what the machine has anyway follows the machine again.
    if (next === (dark.matches ? "dark" : "light")) localStorage.removeItem(THEME); else localStorage.setItem(THEME, next);
    apply();
  });
  apply();
}

async function enter() {
  const code = /^#code=([\w-]+)$/.exec(location.hash);
  if (code) {
    history.replaceState(null, "", "#/");
    try {
      const told = await (await post("/ui/session", { code: code[1] })).json();
      sessionStorage.setItem(SESSION, told.session);
    } catch (error) {
      return login(error instanceof Refused ? "This link was used already, or is too old. `usher ui` makes another one." : error.message);
    }
  }
  try {
    me = await (await ask("/ui/me")).json();
  } catch (error) {
    return login(error.message);
  }
  if (!me.user) {
    me = null;
    sessionStorage.removeItem(SESSION);
    return login("");
  }
  document.getElementById("node").textContent = me.node;
  document.getElementById("who").textContent = me.role === "admin" ? me.user : `${me.user} (${me.role})`;
  document.getElementById("leave").hidden = !sessionStorage.getItem(SESSION);
  route();
}

function leave(words) {
  view.abort();
  ask("/ui/session", { method: "DELETE" }).catch(() => {});
  sessionStorage.removeItem(SESSION);
  me = null;
  for (const id of ["node", "who"]) document.getElementById(id).textContent = "";
  document.getElementById("leave").hidden = true;
  told("none", "");
  login(words);
}

function login(words) {
  document.title = "usher";
  const token = el("input", { id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
  const error = el("p", { class: "error", role: "alert" }, words ?? "");
  const submit = async (event) => {
    event.preventDefault();
    const begin = () => post("/ui/session", { token: token.value.trim() });
    try {
      // The connection may be one to a daemon that is gone: the second is new.
      const answer = await begin().catch((failed) => { if (failed instanceof Refused) throw failed; return begin(); });
      const told = await answer.json();
      sessionStorage.setItem(SESSION, told.session);
      enter();
    } catch (refused) {
      error.textContent = refused.code === 401 ? "This token is not known here." : refused.message;
      token.select();
    }
  };
  show(el("div", { class: "login card" },
    el("h1", {}, "Sign in"),
    el("p", {}, "With a link that ", el("code", {}, "usher ui"), " prints on the machine, or with a token from its folder ", el("code", {}, "server/pki"), "."),
    el("form", { onsubmit: submit }, el("label", { for: "token" }, "Token"), token, el("button", { class: "main" }, "Sign in")),
    error));
  token.focus();
}

function route() {
  if (!me) return;
  view.abort();
  view = new AbortController();
  const life = /^#\/pod\/([a-z0-9.-]+)$/.exec(location.hash);
  scrollTo(0, 0);
  told("live", "connecting");
  if (life) lifeView(life[1], view.signal); else listView(view.signal);
}

// ---------------------------------------------------------------- all pods

const GOOD = ["Running", "Completed", "Succeeded"];
const BUSY = ["Pending", "ContainerCreating", "PodInitializing", "Terminating", "NotReady"];

function statusClass(status) {
  if (GOOD.includes(status)) return "status good";
  if (BUSY.includes(status) || /^Init:\d/.test(status)) return "status busy";
  return "status bad";
}

let sought = "";

function listView(signal) {
  document.title = "Pods · usher";
  const count = el("span", { class: "count" });
  const find = el("input", { type: "search", placeholder: "Find a pod", "aria-label": "Find a pod (press /)", value: sought });
  const body = el("div");
  let last = { present: [], gone: [] };
  let isFirst = true;
  const draw = () => {
    const wanted = (pod) => `${pod.namespace}/${pod.name}`.includes(sought);
    const [present, gone] = [last.present.filter(wanted), last.gone.filter(wanted)];
    count.textContent = ` ${present.length}`;
    keepFocus(body, [
      present.length ? table(["Pod", "Status", "Ready", "Restarts", "Address", "Age"], present.map(presentRow)) : nothing(last),
      gone.length ? el("section", {}, el("h2", {}, "Gone", el("span", { class: "count" }, ` ${gone.length}`)),
        table(["Pod", "Last seen"], gone.map(goneRow))) : null,
    ]);
  };
  find.addEventListener("input", () => { sought = find.value; draw(); });
  show(el("div", { class: "heading" }, el("h1", {}, "Pods", count), el("div", { class: "find" }, find)), body);
  const timer = setInterval(() => { if (!isFirst) draw(); }, 15000);
  signal.addEventListener("abort", () => clearInterval(timer));
  follow("/ui/pods", signal, (_, list) => { last = list; isFirst = false; draw(); });
}

function nothing(list) {
  if (list.present.length) return el("p", { class: "empty" }, "No pod is called so.");
  return el("p", { class: "empty" }, "No pods are here. ", el("code", {}, "kubectl apply -f pod.yaml"), " brings one.");
}

function table(heads, rows) {
  return el("div", { class: "pods card" },
    el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows)));
}

function podName(pod) {
  return el("td", { class: "name" }, el("a", { href: `#/pod/${pod.uid}`, id: `pod-${pod.uid}` }, pod.name), el("span", { class: "space" }, pod.namespace));
}

function presentRow(pod) {
  return el("tr", { "data-uid": pod.uid }, podName(pod),
    el("td", { class: "state" }, el("span", { class: statusClass(pod.status) }, pod.status)),
    el("td", { "data-label": "ready" }, pod.ready),
    el("td", { "data-label": "restarts" }, pod.restarts),
    el("td", { "data-label": "at" }, pod.ip === "<none>" ? "–" : pod.ip),
    el("td", { "data-label": "age" }, ago(Date.parse(pod.created))));
}

function goneRow(pod) {
  return el("tr", { "data-uid": pod.uid }, podName(pod), el("td", { class: "state soft" }, `${ago(pod.lastMillis)} ago`));
}

/** Replaces what is shown, and puts the focus back where it was. */
function keepFocus(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.id : "";
  parent.replaceChildren(...children.filter(Boolean));
  if (focused) document.getElementById(focused)?.focus();
}

// ---------------------------------------------------------------- one life

const MARKS = { asked: "▼", signal: "!", kill: "×", outOfMemory: "M", endedWell: "●", endedBadly: "●", failed: "!", passed: "✓", unhealthy: "×", session: "┊" };

function lifeView(uid, signal) {
  const parts = Object.fromEntries(["head", "chart", "why", "grace", "hooks", "events"].map((name) => [name, el("div", { "data-part": name })]));
  const logs = el("div", { "data-part": "logs" });
  show(el("a", { class: "back", href: "#/" }, "‹ All pods"), Object.values(parts), logs);
  let logsFor = "";
  picked = null;
  const draw = (life) => {
    document.title = `${life.name} · usher`;
    redraw(parts.head, [life.name, life.phase, life.reason, life.lived, life.isDriven, life.notices, life.warnings], () => head(life));
    redraw(parts.chart, [life.lanes, life.ticks, life.folds], () => chart(life));
    redraw(parts.why, life.answers, () => why(life));
    redraw(parts.grace, life.accounts, () => grace(life));
    redraw(parts.hooks, life.hooks, () => hooks(life));
    redraw(parts.events, life.events, () => eventTable(life));
    const run = life.containers.filter((container) => container.hasRun).map((container) => container.name);
    if (me.seesOutput && run.length && run.join() !== logsFor) {
      logsFor = run.join();
      logs.replaceChildren(logPart(life, run, signal));
    }
  };
  follow(`/ui/life?uid=${encodeURIComponent(uid)}`, signal, (name, life) => {
    if (name === "lost") show(el("a", { class: "back", href: "#/" }, "‹ All pods"), el("p", { class: "empty" }, life.message));
    else if (name === "waiting") redraw(parts.head, life.message, () => el("p", { class: "empty" }, life.message));
    else draw(life);
    return name === "lost" || life.isOver;
  });
}

/** Draws a part anew if what it shows has changed; what was opened in it stays open, and the focus where it is. */
function redraw(part, data, make) {
  const text = JSON.stringify(data);
  if (part.shown === text) return;
  part.shown = text;
  const toggled = new Map([...part.querySelectorAll("details")].map((one) => [one.dataset.key, one.open]));
  const focused = part.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const made = make();
  part.replaceChildren(...(made ? [made] : []));
  if (focused !== undefined) part.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  for (const one of part.querySelectorAll("details")) if (toggled.has(one.dataset.key)) one.open = toggled.get(one.dataset.key);
}

function phaseClass(life) {
  if (life.phase === "Failed") return "status bad";
  if (life.phase === "Pending" || (life.phase === "Running" && life.isOver)) return "status busy";
  return "status good";
}

function head(life) {
  const facts = [
    `began ${new Date(life.beganMillis).toLocaleString()}`,
    life.isOver ? `lived ${life.lived}` : `${life.lived} old`,
    el("span", { class: "mono" }, life.uid),
  ];
  const notices = [...(life.notices ?? []).map((notice) => `Note: ${notice}.`),
    ...(!life.isDriven && !life.isOver ? ["No engine drives this pod: its containers live on without restarts and probes."] : []), ...new Set(life.warnings)];
  return el("div", {},
    el("div", { class: "title" }, el("h1", {}, el("span", { class: "space" }, `${life.namespace} / `), life.name),
      el("span", { class: phaseClass(life) }, life.isOver ? `${life.phase}, gone` : life.phase, life.reason ? ` (${life.reason})` : "")),
    el("ul", { class: "facts" }, facts.map((fact) => el("li", {}, fact))),
    notices.map((notice) => el("p", { class: "notice" }, notice)));
}

function chart(life) {
  const detail = el("p", { class: "detail", "aria-live": "polite" }, "Choose a bar or a sign to read about it; with the keyboard, a row and then the arrow keys.");
  const axis = el("div", { class: "axis", "aria-hidden": "true" }, el("span", { class: "side" }),
    el("div", { class: "plot" }, life.ticks.map((tick, index) =>
      place(el("span", { class: `tick${index % 2 ? " odd" : ""}${tick.x < 0.02 ? " first" : tick.x > 0.97 ? " last" : ""}` }, tick.text), tick.x))), el("span", { class: "side" }));
  const lanes = life.lanes.map((lane) => el("div", { class: "lane" }, lane.rows.map((row) => rowOf(life, lane, row, detail))));
  return el("section", {}, el("h2", {}, "Timeline"), el("div", { class: "chart card" }, axis, lanes, detail, legend(life)));
}

function rowOf(life, lane, row, detail) {
  const things = [
    ...row.spans.map((span) => ({ at: span.from, words: [span.text || span.word, span.lasted], element: place(el("span", { class: `span look-${span.look}`, title: `${span.text || span.word} · ${span.lasted}` }), span.from, span.to) })),
    ...row.marks.map((mark) => ({ at: mark.x, words: [mark.text || mark.word, mark.at], element: place(el("span", { class: `mark ${mark.kind}`, title: `${mark.text || mark.word} · ${mark.at}` }, MARKS[mark.kind] ?? "•"), mark.x) })),
  ];
  const inOrder = [...things].sort((a, b) => a.at - b.at);
  const name = row.label ? `${lane.name}, ${row.label}` : lane.name;
  const key = `${lane.name} ${row.label}`;
  let chosen = -1;
  const choose = (index) => {
    for (const one of document.querySelectorAll(".chosen")) one.classList.remove("chosen");
    chosen = Math.max(0, Math.min(index, inOrder.length - 1));
    if (!inOrder[chosen]) return;
    picked = { key, index: chosen };
    inOrder[chosen].element.classList.add("chosen");
    const [words, time] = inOrder[chosen].words;
    detail.replaceChildren(el("b", {}, name), ` ${words} · ${time}`);
  };
  const keys = { ArrowRight: () => chosen + 1, ArrowLeft: () => chosen - 1, Home: () => 0, End: () => inOrder.length - 1 };
  const onkeydown = (event) => {
    const next = keys[event.key];
    if (next) { event.preventDefault(); choose(next()); }
  };
  if (picked?.key === key) choose(picked.index);
  const plot = el("div", { class: "plot", tabindex: 0, role: "group", "data-key": key, "aria-label": `${name}: ${inOrder.map((thing) => thing.words.join(", ")).join("; ") || "nothing yet"}`, onkeydown },
    life.ticks.map((tick) => place(el("span", { class: "grid" }), tick.x)),
    life.folds.map((fold) => place(el("span", { class: "fold", title: `${fold.text} in which nothing was done, not to scale` }), fold.from, fold.to)),
    things.map((thing) => { thing.element.addEventListener("click", () => choose(inOrder.indexOf(thing))); return thing.element; }));
  const label = row.label ? row.label : [lane.name, ["init", "sidecar", "ephemeral"].includes(lane.kind) ? el("small", {}, ` ${lane.kind}`) : null];
  return el("div", { class: row.label ? "row sub" : "row" }, el("div", { class: "label" }, label), plot, el("div", { class: "note" }, row.note));
}

function legend(life) {
  const rows = life.lanes.flatMap((lane) => lane.rows);
  const looks = new Map(rows.flatMap((row) => row.spans.map((span) => [span.look, span.word])));
  const marks = new Map(rows.flatMap((row) => row.marks.map((mark) => [mark.kind, mark.word])));
  return el("ul", { class: "legend" },
    [...looks].map(([look, word]) => el("li", {}, el("i", { class: `look-${look}` }), word)),
    [...marks].map(([kind, word]) => el("li", {}, el("span", { class: `mark ${kind}` }, MARKS[kind] ?? "•"), word)),
    life.folds.length ? [el("li", {}, `${life.folds.map((fold) => fold.text).join(", ")} folded, not to scale`)] : []);
}

function why(life) {
  if (!life.answers.length) return null;
  return el("section", {}, el("h2", {}, "Why"), life.answers.map((answer) => el("article", { class: "why card" }, el("p", {}, answer.text),
    answer.evidence.length ? el("ul", { class: "evidence" }, answer.evidence.map((one) =>
      el("li", {}, el("span", { class: "time" }, one.after), el("span", { class: "time at" }, one.at), el("span", {}, one.text)))) : null)));
}

function grace(life) {
  if (!life.accounts.length) return null;
  return el("section", {}, el("h2", {}, "Grace"), life.accounts.map((account) => el("article", { class: "grace card" },
    el("h3", {}, account.container, el("span", { class: "count" }, ` ${account.graceSecs} s`)),
    el("div", { class: "budget", role: "img", "aria-label": account.shares.map((share) => `${share.word} ${share.text}`).join(", ") },
      account.shares.map((share) => { const part = el("i", { class: `share-${share.kind}`, title: `${share.word}, ${share.text}` }); part.style.width = `${share.part * 100}%`; return part; })),
    el("ul", { class: "legend" }, account.shares.map((share) => el("li", {}, el("i", { class: `share-${share.kind}` }), `${share.word} ${share.text}`))),
    el("p", {}, account.sentence))));
}

function hooks(life) {
  if (!life.hooks.length) return null;
  return el("section", {}, el("h2", {}, "Hooks"),
    me.seesOutput ? null : el("p", { class: "soft" }, "What hooks print is not shown to those who only look."),
    life.hooks.map((run) => el("details", { class: "hook card", "data-key": `${run.container} ${run.restarts} ${run.hook}`, open: !run.isGood },
      el("summary", { "data-key": `of ${run.container} ${run.restarts} ${run.hook}` }, el("b", {}, run.container), run.hook, el("span", { class: run.isGood ? "good" : "bad" }, run.end),
        el("span", { class: "time" }, run.isRunning ? `${run.took} so far` : run.took), run.restarts ? el("span", { class: "soft" }, `restart ${run.restarts}`) : null),
      el("code", { class: "command" }, run.handler),
      me.seesOutput ? printed(run) : null)));
}

function printed(run) {
  if (!run.output.length) return el("p", { class: "soft" }, run.isRunning ? "It has printed nothing yet." : "It printed nothing.");
  return [el("pre", {}, run.output.map((line) => el("span", { class: line.stream }, `${line.line}\n`))),
    run.isCut ? el("p", { class: "soft" }, "It printed more, which is not kept.") : null];
}

function eventTable(life) {
  if (!life.events.length) return null;
  const rows = [...life.events].reverse().map((event) => el("tr", {},
    el("td", { class: "when time" }, event.after), el("td", { class: "about" }, event.about),
    el("td", { class: event.isWarning ? "reason bad" : "reason" }, event.reason), el("td", { class: "message" }, event.message)));
  return el("section", {}, el("h2", {}, "Events"), el("div", { class: "events card" }, el("table", {},
    el("thead", {}, el("tr", {}, ["After", "About", "Reason", "Message"].map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows))));
}

// ---------------------------------------------------------------- logs

function logPart(life, containers, signal) {
  const text = el("pre", { tabindex: 0, "aria-label": "log" });
  const pick = el("select", { "aria-label": "container" }, containers.map((name) => el("option", { value: name }, name)));
  const previous = el("input", { type: "checkbox" });
  const stamps = el("input", { type: "checkbox" });
  let reading = new AbortController();
  let lines = [];
  signal.addEventListener("abort", () => reading.abort());
  const line = (raw) => {
    const space = raw.indexOf(" ");
    return [stamps.checked ? el("span", { class: "stamp" }, `${raw.slice(0, space)} `) : null, `${raw.slice(space + 1)}\n`];
  };
  const append = (more) => {
    const atEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 8;
    lines.push(...more);
    text.append(...more.flatMap(line).filter(Boolean));
    if (lines.length > LOG_LINES_MAX) { lines = lines.slice(-LOG_LINES_MAX / 2); text.replaceChildren(...lines.flatMap(line).filter(Boolean)); }
    if (atEnd) text.scrollTop = text.scrollHeight;
  };
  const read = async () => {
    reading.abort();
    reading = new AbortController();
    const own = reading.signal;
    lines = [];
    text.replaceChildren();
    const query = new URLSearchParams({ namespace: life.namespace, name: life.name, uid: life.uid, container: pick.value, follow: String(!previous.checked), previous: String(previous.checked) });
    try {
      const answer = await ask(`/ui/log?${query}`, { signal: own });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (let piece; !(piece = await reader.read()).done; ) {
        const found = (rest + piece.value).split("\n");
        rest = found.pop();
        append(found);
      }
      if (!lines.length) text.replaceChildren("It has printed nothing.");
    } catch (error) {
      if (own.aborted) return;
      if (error instanceof Refused) return text.replaceChildren(error.message);
      // The connection broke: from the newest lines on anew.
      setTimeout(() => { if (!own.aborted) read(); }, RETRY_MS[1]);
    }
  };
  pick.addEventListener("change", read);
  previous.addEventListener("change", read);
  stamps.addEventListener("change", () => text.replaceChildren(...lines.flatMap(line).filter(Boolean)));
  read();
  return el("section", {}, el("h2", {}, "Logs"), el("div", { class: "logs card" }, el("div", { class: "pick" }, pick,
    el("label", { class: "check" }, previous, "instance before"), el("label", { class: "check" }, stamps, "times")), text));
}

// ---------------------------------------------------------------- keys

function rows(step) {
  const links = [...document.querySelectorAll(".pods .name a")];
  const next = links.indexOf(document.activeElement) + step;
  links[Math.max(0, Math.min(next, links.length - 1))]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);
  if (event.key === "Escape" && me) {
    if (typing) document.activeElement.blur(); else if (location.hash.startsWith("#/pod/")) location.hash = "#/";
  } else if (!typing && event.key === "/" && document.querySelector(".find input")) {
    event.preventDefault();
    document.querySelector(".find input").focus();
  } else if (!typing && document.querySelector(".pods") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    rows(event.key === "ArrowDown" ? 1 : -1);
  }
});
document.querySelector("[data-skip]").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.getElementById("leave").addEventListener("click", () => leave(""));
window.addEventListener("hashchange", () => (location.hash.startsWith("#code=") ? enter() : route()));

theme();
enter();
