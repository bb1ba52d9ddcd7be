// What a timeline does beyond being read: details in place, filters without a new page, live rows, keys, copying.
// One listener for each kind of event, for all rows; see ui/timeline.py for what the server sends.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const timeline = () => $(".timeline");

document.documentElement.classList.add("js");

/** Parse HTML of ours; icons that it brings are kept with those of the page. */
function parse(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const sprite = $("body > .sprite");
  for (const icon of $$(".sprite > symbol", page)) {
    if (!document.getElementById(icon.id)) sprite.append(document.adoptNode(icon));
  }
  $(".sprite", page)?.remove();
  return page;
}

/** Fetch a part of a page; a visitor whose session has ended goes to sign in. */
async function fetchPart(url) {
  const answer = await fetch(url, { headers: { "HX-Request": "true", Accept: "text/html" } });
  const elsewhere = answer.headers.get("HX-Redirect");
  if (elsewhere) location.assign(elsewhere);
  if (!answer.ok || elsewhere) throw new Error(`${answer.status} ${url}`);
  return answer.text();
}

let saying;
/** Tell a screen reader, at most once in a while. */
function announce(text) {
  clearTimeout(saying);
  saying = setTimeout(() => ($("#announcer").textContent = text), 700);
}

/** Say at an element, to eyes and ears, that what was asked for did not come; without `at` take that away. */
function lament(at) {
  $(".timeline .missed")?.remove();
  if (!at) return;
  const said = document.createElement("p");
  said.className = "fault missed";
  said.setAttribute("role", "alert");
  said.textContent = "This could not be loaded just now. Please try again.";
  at.append(said);
}

// Details: fetched when a row is opened, or is about to be.

const asked = new Map();

function askDetails(row) {
  const id = row?.id.slice(2);
  if (!id || !$(".more > a:first-child", row)) return null;
  const here = new URL(location);
  here.searchParams.delete("done");
  const url = `/activities/${id}/details?${new URLSearchParams({ zone: timeline().dataset.zone, to: here.pathname + here.search })}`;
  if (!asked.has(url)) asked.set(url, fetchPart(url));
  asked.get(url).catch(() => asked.delete(url));
  return asked.get(url);
}

async function openRow(row) {
  const html = askDetails(row);
  if (!html) return;
  const more = $(".more", row);
  more.setAttribute("aria-busy", "true");
  $(".missed", more)?.remove();
  try {
    more.replaceChildren(...parse(await html).body.childNodes);
  } catch {
    lament(more);
  }
  more.removeAttribute("aria-busy");
}

document.addEventListener(
  "toggle",
  (event) => {
    const row = event.target.matches(".row > article > details[open]") && event.target.closest(".row");
    if (row) openRow(row);
  },
  true,
);

document.addEventListener("pointerover", (event) => {
  const summary = event.target.closest(".row > article > details:not([open]) > summary");
  if (summary) askDetails(summary.closest(".row"));
});

// Copying.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy], .copy");
  if (!button) return;
  const value = button.previousElementSibling;
  const text = button.dataset.copy ?? value?.dataset.copy ?? $(".whole", value)?.textContent ?? value?.textContent;
  await navigator.clipboard.writeText(text);
  button.classList.add("done");
  announce("Copied");
  setTimeout(() => button.classList.remove("done"), 1200);
});

// Filters and places: the timeline alone is replaced, the address and the back button follow.

async function goTo(url) {
  const before = timeline();
  const focused = before.contains(document.activeElement) && document.activeElement;
  lament();
  await htmx.ajax("GET", url, { target: "#timeline", select: "#timeline", swap: "outerHTML", push: url });
  if (timeline() === before) return lament($(".tl-head", before));
  if (focused) (document.getElementById(focused.id) ?? $("#timeline-title")).focus({ preventScroll: true });
  const rows = $$(".days .row:not(.run)").length;
  announce(rows ? `${rows} activities shown` : "Nothing matches");
}

// An error's page has no timeline: what is there stays.
document.addEventListener("htmx:before:response", (event) => {
  if (event.detail.ctx.response.status >= 400 && event.detail.ctx.select === "#timeline") event.preventDefault();
});

const canReplace = () => window.htmx && $("#timeline");

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-part]");
  if (!link || !canReplace() || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  goTo(link.getAttribute("href"));
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-part]") || !canReplace()) return;
  event.preventDefault();
  const filled = [...new FormData(form)].filter(([, value]) => value !== "");
  const query = new URLSearchParams(filled).toString();
  goTo(query ? `${form.getAttribute("action")}?${query}` : form.getAttribute("action"));
});

// Rows that come later, older or live, find their places.

/** Whether one row stands above another: the newer first, and of the same moment the one that came later. */
function isBefore(row, other) {
  const [mine, theirs] = [row, other].map((each) => BigInt(each.dataset.p || 0));
  return mine > theirs || (mine === theirs && row.id > other.id);
}

function sectionFor(given) {
  const days = $(".days");
  const date = given.dataset.day;
  const there = $(`.day[data-day="${date}"]`, days);
  if (there) return there;
  const section = given.cloneNode(false);
  const heading = document.createElement($(".day > :first-child", days)?.tagName ?? "h3");
  heading.id = `d-${date}`;
  heading.textContent = $("h2, h3", given)?.textContent ?? given.dataset.label;
  section.setAttribute("aria-labelledby", heading.id);
  const list = document.createElement("ol");
  list.className = "rows";
  section.append(heading, list);
  const later = $$(".day", days).find((day) => day.dataset.day < date);
  days.insertBefore(section, later ?? null);
  return section;
}

/** Put the rows of a day where they belong; those that are there already are not shown twice. */
function absorb(given) {
  const fresh = [];
  for (const row of $$(":scope > ol > li", given)) {
    if (row.id && document.getElementById(row.id)) continue;
    const list = $(".rows", sectionFor(given));
    const after = [...list.children].find((other) => isBefore(row, other));
    list.insertBefore(document.adoptNode(row), after ?? null);
    fresh.push(row);
  }
  return fresh;
}

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-older]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (link.getAttribute("aria-busy")) return;
  link.setAttribute("aria-busy", "true");
  lament();
  try {
    const page = parse(await fetchPart(link.getAttribute("href")));
    const fresh = $$(".timeline .day", page).flatMap(absorb);
    link.closest(".older").replaceWith($(".timeline .older", page) ?? "");
    fresh[0] && $("summary", fresh[0])?.focus({ preventScroll: true });
    announce(`${fresh.length} older activities loaded`);
  } catch {
    link.removeAttribute("aria-busy");
    lament(link.closest(".older"));
  }
});

// Live: new rows wait behind a pill, unless whoever reads is idle at the top. Focus and scroll are never moved.

let waiting = [];
let touched = 0;
for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
  document.addEventListener(kind, () => (touched = Date.now()), { passive: true });
}

const isIdleAtTop = () => {
  const top = $(".days")?.getBoundingClientRect().top ?? 0;
  return top > 0 && Date.now() - touched > 4000 && !$(".days details[open]") && !$(".days :focus");
};

function showWaiting() {
  const fresh = waiting.flatMap(absorb);
  waiting = [];
  for (const row of fresh) row.classList.add("fresh");
  $(".tl-empty")?.remove();
  updatePill();
  return fresh;
}

function updatePill() {
  const pill = $(".pill");
  if (!pill) return;
  pill.hidden = !waiting.length;
  $("span", pill).textContent = `${waiting.length} new ${waiting.length === 1 ? "activity" : "activities"}`;
}

document.addEventListener("activity", (event) => {
  const day = $(".day", parse(event.detail.data));
  const id = day && $(".row", day)?.id;
  if (!id || document.getElementById(id) || waiting.some((other) => $(".row", other)?.id === id)) return;
  const older = $("a[data-older]");
  const last = $$(".days .rows > li").pop();
  if (older && last && !isBefore($(".row", day), last)) return; // it comes with what is older
  waiting.push(day);
  if (isIdleAtTop()) showWaiting();
  else updatePill();
  announce(`${waiting.length || 1} new ${waiting.length > 1 ? "activities" : "activity"}`);
});

document.addEventListener("deleted", (event) => {
  const row = document.getElementById(`a-${event.detail.data}`);
  const list = row?.parentElement;
  row?.remove();
  const times = list?.parentElement.querySelector(".times");
  if (times) times.textContent = `${list.children.length} times`;
  if (list && !list.children.length) list.closest(".day, .run")?.remove();
  waiting = waiting.filter((day) => $(".row", day)?.id !== `a-${event.detail.data}`);
  updatePill();
});

document.addEventListener("reset", (event) => {
  if (event.target.matches(".live")) goTo(location.pathname + location.search);
});

document.addEventListener("click", (event) => {
  if (!event.target.closest(".pill")) return;
  const fresh = showWaiting();
  timeline().scrollIntoView({ block: "start" });
  fresh.length && $("summary", fresh.at(-1))?.focus({ preventScroll: true });
});

document.addEventListener("htmx:before:swap", (event) => {
  waiting = [];
  parse(event.detail.ctx.text); // for its icons
});

// Keys: inert where one types, and where they were switched off.

let pending = "";

const summaries = () => $$(".row > article > details > summary, .run > details > summary, .row > a").filter((each) => each.checkVisibility());

function step(by) {
  const all = summaries();
  const here = all.indexOf(document.activeElement.closest(".row")?.querySelector("summary, a"));
  const next = all[here < 0 ? (by > 0 ? 0 : -1) : Math.min(Math.max(here + by, 0), all.length - 1)];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest" });
}

const places = { t: "/tickets", c: "/contacts", a: "/activities" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape") {
    if (typing?.closest(".timeline")) typing.blur();
    else event.target.closest?.(".row details[open]")?.removeAttribute("open");
    return;
  }
  const off = document.documentElement.dataset.shortcuts === "off";
  if (off || typing || event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return;
  const keys = pending + event.key;
  pending = "";
  if (keys === "g") pending = "g";
  else if (keys[0] === "g" && places[keys[1]]) location.assign(places[keys[1]]);
  else if (keys === "j" || keys === "k") step(keys === "j" ? 1 : -1);
  else if (keys === "/") $("#tl-q")?.focus();
  else if (keys === "?") $("#shortcuts")?.showModal();
  else return;
  event.preventDefault();
});

// A link to a row opens it.

function openLinked() {
  const row = location.hash.startsWith("#a-") && document.getElementById(location.hash.slice(1));
  const details = row && $("details", row);
  if (!details) return;
  row.closest(".run > details")?.setAttribute("open", "");
  details.open = true;
  row.scrollIntoView({ block: "center" });
}
openLinked();
