// The page's state is its address: #history=ID,ID&k=10, oldest first. Whatever is done changes the
// address, and what is shown follows from it; so Back undoes, and a link shows the same to others.

const DEFAULT_K = 10;
const COUNTS = [5, 10, 20, 50];
const SEARCH_DELAY_MS = 60;
const LONGEST_REASON = 48;
const ICONS = {
  earlier: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  later: "M8 3v10M3.5 8.5 8 13l4.5-4.5",
  remove: "m4 4 8 8m0-8-8 8",
  add: "M8 3v10M3 8h10",
};

const byId = (id) => document.getElementById(id);
const search = byId("search");
const numbers = new Intl.NumberFormat("en");

let limits = { max_k: 100, max_history: 200, models: [] };
let shown = { history: [], k: DEFAULT_K }; // what is on the page
let hits = [];
let hitsOf = ""; // the text that they are of
let active = -1; // the hit that Enter takes
let searching = null;
let asking = null;
let findFocus = null; // what has the focus when the page has changed
let toSay = "";

// Elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null)); // texts stay texts
  return element;
}

function makeIcon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(namespace, "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(namespace, "path");
  path.setAttribute("d", ICONS[name]);
  icon.append(path);
  return icon;
}

function makeTool(name, label, act, disabled = false) {
  const properties = { type: "button", className: "icon", title: label, "aria-label": label };
  const button = make("button", { ...properties, disabled }, makeIcon(name));
  button.dataset.tool = name;
  button.addEventListener("click", act);
  return button;
}

function makeGenres(item) {
  return item.genres.length ? make("p", { className: "genres" }, item.genres.join(", ")) : null;
}

function shorten(text) {
  return text.length > LONGEST_REASON ? `${text.slice(0, LONGEST_REASON - 1).trimEnd()}…` : text;
}

function count(number, one, many = `${one}s`) {
  return `${numbers.format(number)} ${number === 1 ? one : many}`;
}

// The address

function readAddress() {
  const parts = location.hash.slice(1).split("&").map((part) => part.split("="));
  const found = Object.fromEntries(parts.filter((part) => part.length === 2));
  const ids = (found.history ?? "").split(",").filter(Boolean).map(decode);
  const k = /^\d{1,4}$/.test(found.k ?? "") ? Number(found.k) : DEFAULT_K;
  return {
    history: ids.slice(-limits.max_history),
    k: Math.min(Math.max(k, 1), limits.max_k),
  };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a link that was cut
  }
}

function go(ids, k = shown.k) {
  const history = `history=${ids.slice(-limits.max_history).map(encodeURIComponent).join(",")}`;
  const hash = `#${history}&k=${k}`;
  if (hash === location.hash) update();
  else location.hash = hash; // and `hashchange` updates
}

// Questions to the server

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The playground does not answer. Is it still running in its terminal?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(`The playground refuses: ${answer.error}.`);
  return answer;
}

function complain(error) {
  if (error.name === "AbortError") return;
  byId("notice-text").textContent = error.message;
  byId("retry").hidden = false;
  byId("notice").hidden = false;
}

async function update() {
  const { history, k } = readAddress();
  asking?.abort();
  asking = new AbortController();
  document.querySelector(".results").setAttribute("aria-busy", "true");
  try {
    const answer = await ask("/api/recommend", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ history, k }),
      signal: asking.signal,
    });
    byId("notice").hidden = true;
    shown = { history: answer.history, k };
    showUnknown(answer.unknown);
    showHistory(answer);
    showCounts(k);
    showLists(answer);
    restoreFocus();
    document.querySelector(".results").setAttribute("aria-busy", "false");
  } catch (error) {
    complain(error);
  }
}

// History

const ids = () => shown.history.map((item) => item.id);

function add(item) {
  toSay = `${item.title} is added.`;
  go([...ids().filter((id) => id !== item.id), item.id]);
}

function remove(place) {
  toSay = `${shown.history[place].title} is removed.`;
  findFocus = () => findTool(Math.min(place, shown.history.length - 1), "remove");
  go(ids().filter((_, index) => index !== place));
}

function move(place, step) {
  const moved = ids();
  [moved[place], moved[place + step]] = [moved[place + step], moved[place]];
  toSay = `${shown.history[place].title} is number ${place + step + 1}.`;
  findFocus = () => findTool(place + step, step < 0 ? "earlier" : "later");
  go(moved);
}

function showHistory(answer) {
  const { history, lists } = answer;
  const numRead = Math.max(...lists.map((list) => list.num_read + list.not_known.length));
  const rows = history.map((item, place) => {
    const isUnread = place < history.length - numRead;
    const text = make(
      "div",
      {},
      make("p", { className: "title" }, item.title),
      makeGenres(item),
      isUnread ? make("p", { className: "genres" }, "too old to be read") : null,
    );
    const { length } = history;
    const tools = make(
      "div",
      { className: "tools" },
      makeTool("earlier", `Move ${item.title} earlier`, () => move(place, -1), place === 0),
      makeTool("later", `Move ${item.title} later`, () => move(place, 1), place === length - 1),
      makeTool("remove", `Remove ${item.title}`, () => remove(place)),
    );
    return make("li", { className: isUnread ? "unread" : "" }, text, tools);
  });
  byId("history").replaceChildren(...rows);
  byId("empty").hidden = history.length > 0;
  byId("clear").disabled = history.length === 0;
  byId("share").disabled = history.length === 0;
  byId("done").textContent = toSay;
  toSay = "";
}

function findTool(place, tool) {
  const row = byId("history").children[place];
  return [tool, "earlier", "later"]
    .map((name) => row?.querySelector(`[data-tool="${name}"]:not(:disabled)`))
    .find(Boolean);
}

function restoreFocus() {
  if (findFocus === null) return;
  (findFocus() ?? search).focus();
  findFocus = null;
}

function showUnknown(unknown) {
  if (!unknown.length) return;
  const few = unknown.slice(0, 5).join(", ") + (unknown.length > 5 ? ", ..." : "");
  const left = count(unknown.length, "item of this link is", "items of this link are");
  byId("notice-text").textContent = `${left} not in the catalogue, and left out: ${few}.`;
  byId("retry").hidden = true;
  byId("notice").hidden = false;
}

// Recommendations

function showLists(answer) {
  const cards = answer.lists.map((list, number) => makeCard(list, number, answer.history));
  const open = [...document.querySelectorAll("details")].map((details) => details.open);
  byId("lists").replaceChildren(...cards);
  document.querySelectorAll("details").forEach((details, number) => {
    details.open = open[number] ?? false;
  });
  byId("lists").classList.toggle("two", cards.length > 1);
  byId("summary").textContent = summarize(answer);
}

function summarize({ history, lists }) {
  const start = history.length
    ? `For ${count(history.length, "item")} of history.`
    : "For somebody of whom nothing is known.";
  if (lists.length < 2) return start;
  const shared = lists[0].items.filter(isShared).length;
  const length = Math.max(...lists.map((list) => list.items.length));
  return `${start} ${shared} of ${length} are in both lists, and marked.`;
}

const isShared = (item) => item.places.some((place) => place !== null);

function makeCard(list, number, history) {
  const model = limits.models[number];
  const badge = make("p", { className: `badge${model.is_private ? " private" : ""}` }, model.summary);
  const statement = model.statement
    ? make("details", {}, make("summary", {}, "Privacy statement"), make("p", {}, model.statement))
    : null;
  const title = make("h3", { id: `model-${number}` }, model.name);
  const rows = list.items.map((item, place) => makeRow(item, place + 1, number, history));
  const notes = makeNotes(list, model, history).map((text) => make("p", { className: "note" }, text));
  return make(
    "article",
    { className: "card", "aria-labelledby": title.id },
    make("header", {}, title, badge, statement),
    ...notes,
    make("ol", { "aria-label": `Recommended by ${model.name}` }, ...rows),
  );
}

function makeNotes(list, model, history) {
  const notes = [];
  if (list.not_known.length) {
    const names = history.filter((item) => list.not_known.includes(item.id));
    notes.push(`Does not know ${names.map((item) => item.title).join(", ")}.`);
  }
  if (list.num_read + list.not_known.length < history.length) {
    notes.push(`Reads the newest ${count(model.history_length, "item")} alone.`);
  }
  if (!list.items.length) notes.push("No item is left that is not in your history.");
  return notes;
}

function makeRow(item, rank, number, history) {
  const fill = make("span", { className: "fill" });
  fill.style.width = `${100 * item.weight}%`;
  return make(
    "li",
    { className: isShared(item) ? "shared" : "" },
    make("span", { className: "rank", "aria-hidden": "true" }, String(rank)),
    make(
      "div",
      {},
      make("p", { className: "title" }, item.title),
      makeGenres(item),
    ),
    make(
      "div",
      { className: "score" },
      make("span", { className: "unseen" }, "score "),
      item.score.toFixed(2),
      make("span", { className: "track", "aria-hidden": "true" }, fill),
    ),
    makeReasons(item, number, history),
    makeTool("add", `Add ${item.title} to your history`, () => {
      findFocus = () => findAdding(number, rank);
      add(item);
    }),
  );
}

// The button of whatever has come to the same place.
function findAdding(number, rank) {
  const rows = byId("lists").children[number].querySelectorAll('[data-tool="add"]');
  return rows[Math.min(rank, rows.length) - 1];
}

function makeReasons(item, number, history) {
  return make("div", { className: "reasons" }, makeWhy(item, history), makePlace(item, number));
}

function makeWhy(item, history) {
  if (!history.length) return null;
  if (!item.why.length) return make("p", { className: "why" }, "near nothing in your history");
  const parts = item.why.flatMap((reason, place) => [
    place ? ", " : "near ",
    make("b", { title: reason.title }, shorten(reason.title)),
    make("span", { className: "nearness" }, ` ${reason.similarity.toFixed(2)}`),
  ]);
  return make("p", { className: "why" }, ...parts);
}

function makePlace(item, number) {
  if (!isShared(item)) return null;
  const other = limits.models[1 - number];
  return make("p", { className: "place" }, `also number ${item.places[0]} of ${other.name}`);
}

function showCounts(k) {
  const choices = [...new Set([...COUNTS.filter((choice) => choice <= limits.max_k), k])];
  const options = choices
    .sort((one, other) => one - other)
    .map((choice) => make("option", { value: String(choice), selected: choice === k }, String(choice)));
  byId("k").replaceChildren(...options);
}

// Search: a combobox whose list follows what is typed

async function find() {
  const text = search.value.trim();
  clearTimeout(searching?.timer);
  searching?.request.abort();
  if (!text) {
    close();
    return;
  }
  const request = new AbortController();
  searching = { request };
  try {
    const path = `/api/search?q=${encodeURIComponent(text)}`;
    const answer = await ask(path, { signal: request.signal });
    hits = answer.hits;
    hitsOf = text;
    showHits(answer.num_found);
  } catch (error) {
    complain(error);
  }
}

function findSoon() {
  clearTimeout(searching?.timer);
  searching?.request.abort();
  const timer = setTimeout(find, SEARCH_DELAY_MS);
  searching = { request: new AbortController(), timer };
}

function showHits(numFound) {
  const chosen = new Set(ids());
  const options = hits.map((item, place) => {
    const genres = makeGenres(item);
    const again = chosen.has(item.id)
      ? make("p", { className: "genres" }, "in your history: becomes the newest")
      : null;
    const properties = { id: `hit-${place}`, role: "option" };
    const option = make("li", properties, makeMarked(item.title), genres, again);
    option.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus
    option.addEventListener("click", () => choose(place));
    return option;
  });
  byId("hits").replaceChildren(...options);
  byId("popup").hidden = false;
  search.setAttribute("aria-expanded", String(hits.length > 0));
  const rest = numFound - hits.length;
  byId("more").textContent = hits.length
    ? rest
      ? `and ${numbers.format(rest)} more: type on`
      : ""
    : `No item has ${hitsOf} in its title or as its id.`;
  byId("more").hidden = !byId("more").textContent;
  byId("found").textContent = hits.length ? `${count(numFound, "item")} found` : "no item found";
  activate(hits.length ? 0 : -1);
}

function makeMarked(title) {
  const words = hitsOf.split(/\s+/).map((word) => word.replace(/[^\p{L}\p{N}]/gu, "\\$&"));
  // Every other part is one of the words.
  const parts = title.split(new RegExp(`(${words.join("|")})`, "i"));
  const marked = parts.map((part, place) => (place % 2 ? make("mark", {}, part) : part));
  return make("p", { className: "title" }, ...marked);
}

function activate(place) {
  active = place;
  const options = [...byId("hits").children];
  options.forEach((option, index) => option.setAttribute("aria-selected", String(index === place)));
  if (place < 0) {
    search.removeAttribute("aria-activedescendant");
    return;
  }
  search.setAttribute("aria-activedescendant", options[place].id);
  options[place].scrollIntoView({ block: "nearest" });
}

function close() {
  byId("popup").hidden = true;
  byId("hits").replaceChildren();
  byId("found").textContent = "";
  search.setAttribute("aria-expanded", "false");
  hits = [];
  hitsOf = "";
  activate(-1);
}

function choose(place) {
  const item = hits[place];
  search.value = "";
  close();
  add(item);
}

async function press(event) {
  const isOpen = !byId("popup").hidden;
  if (event.isComposing) return; // the key belongs to an input method
  if (event.key === "Escape") {
    if (!isOpen) search.value = "";
    close();
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (hitsOf !== search.value.trim()) await find(); // typed faster than found
    if (active >= 0 && hitsOf === search.value.trim()) choose(active);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!isOpen) {
      find();
    } else if (hits.length) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      activate((active + step + hits.length) % hits.length);
    }
  }
}

// Buttons

async function showExample() {
  try {
    const { history } = await ask("/api/example");
    toSay = "An example, made of items alone: nobody's history.";
    go(history.map((item) => item.id));
  } catch (error) {
    complain(error);
  }
}

function clear() {
  toSay = "Your history is empty.";
  search.focus();
  go([]);
}

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    byId("done").textContent = "The link is copied. It works where this playground runs.";
  } catch {
    byId("done").textContent = "The browser does not allow it: copy the page's address instead.";
  }
}

// Start

async function start() {
  try {
    limits = await ask("/api/models");
  } catch (error) {
    complain(error);
    return;
  }
  const names = limits.models.map((model) => model.name);
  document.title = `${names.join(" and ")}: playground`;
  byId("about").textContent =
    `${count(limits.num_items, "item")}. What you choose stays in this page and its address.`;
  await update();
}

search.addEventListener("input", findSoon);
search.addEventListener("keydown", press);
search.addEventListener("blur", close);
byId("example").addEventListener("click", showExample);
byId("clear").addEventListener("click", clear);
byId("share").addEventListener("click", share);
byId("k").addEventListener("change", (event) => go(ids(), Number(event.target.value)));
byId("retry").addEventListener("click", () => (limits.models.length ? update() : start()));
window.addEventListener("hashchange", update);
start();
