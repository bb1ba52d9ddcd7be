// What every page needs: the viewer's time zone, menus that close. Pages can be read without it.

const YEAR = 365 * 24 * 3600;

/** Tell the server the viewer's zone; true where it did not know it. */
function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const known = document.cookie.split("; ").find((pair) => pair.startsWith("zone="));
  const told = `zone=${encodeURIComponent(zone)}`;
  if (!zone || known === told) return false;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${told}; Path=/; Max-Age=${YEAR}; SameSite=Lax${secure}`;
  return true;
}

// Times were written in another zone than the viewer's: once more, with the right one.
if (tellZone() && document.querySelector("[data-zoned]") && navigator.cookieEnabled) location.reload();

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
  event.stopImmediatePropagation();
});

// Copying what an element says.
for (const button of document.querySelectorAll("[data-copy-of]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copyOf).textContent);
    button.querySelector("span").textContent = "Copied";
  });
}

// Tickets: r and n to write, what is written is kept as a draft; lists: j and k from record to record.

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]");

function write(kind) {
  const part = document.getElementById(`write-${kind}`);
  if (!part) return false;
  part.open = true;
  part.querySelector("textarea").focus();
  return true;
}

function step(by) {
  const links = [...document.querySelectorAll("[data-rows] .record-link")];
  const here = links.indexOf(document.activeElement);
  const next = links[here < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + by, 0), links.length - 1)];
  next?.focus();
  return Boolean(next);
}

function find() {
  const box = document.getElementById("q");
  box?.focus();
  return Boolean(box);
}

const places = { t: "/tickets", c: "/contacts", a: "/activities" };
const keys = { r: () => write("reply"), n: () => write("note"), j: () => step(1), k: () => step(-1), "/": find };
let going = false;

/** What timelines bring by themselves, on pages without one. */
function everywhere(key) {
  if (document.querySelector(".timeline")) return false;
  const place = going && places[key];
  going = key === "g";
  if (place) location.assign(place);
  const list = key === "?" && document.getElementById("shortcuts");
  if (list) list.showModal();
  return Boolean(place || list);
}

document.addEventListener("keydown", (event) => {
  const off = document.documentElement.dataset.shortcuts === "off";
  if (off || typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (everywhere(event.key) || keys[event.key]?.()) event.preventDefault();
});

const KEEP_AFTER = 1500;
const csrf = document.querySelector("meta[name=csrf]")?.content;
const me = document.querySelector(".menu-who .muted")?.textContent;
const [arrival] = performance.getEntriesByType("navigation");
const done = arrival?.type === "navigate" ? new URLSearchParams(location.search).get("done") : null;

for (const area of document.querySelectorAll("textarea[data-draft]")) {
  const kind = area.form.elements.kind.value;
  // In this tab too, until the server has it: the connection may be lost, or the session over.
  const unsent = `unsent ${me} ${area.dataset.draft} ${kind}`;
  const told = document.createElement("p");
  told.className = "hint";
  told.setAttribute("role", "status");
  area.after(told);
  let waiting;
  const keep = async () => {
    waiting = undefined;
    const body = new URLSearchParams({ kind, body: area.value });
    const headers = { "X-CSRF-Token": csrf, "HX-Request": "true" };
    const answer = await fetch(area.dataset.draft, { method: "POST", body, headers, redirect: "manual", keepalive: true }).catch(() => null);
    if (answer?.type === "opaqueredirect") {
      told.textContent = "";
      if (!waiting) sessionStorage.removeItem(unsent);
    } else if (answer?.headers.has("HX-Redirect")) {
      told.textContent = "You are signed out. What you wrote stays in this tab: sign in here to send it.";
    } else {
      told.textContent = "The draft could not be kept just now. What you wrote stays in this tab.";
    }
  };
  const note = () => {
    clearTimeout(waiting);
    sessionStorage.setItem(unsent, area.value);
  };
  area.addEventListener("input", () => {
    note();
    waiting = setTimeout(keep, KEEP_AFTER);
  });
  area.form.addEventListener("submit", note);
  addEventListener("pagehide", () => waiting && keep());
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form.requestSubmit(area.form.querySelector(".primary"));
  });
  const left = sessionStorage.getItem(unsent);
  if ([kind, "draft", ""].includes(done) || left === area.value) sessionStorage.removeItem(unsent);
  else if (left) {
    area.value = left;
    area.closest("details").open = true;
    told.textContent = "What you wrote and did not send is here again.";
  }
}

// What was sent is not sent again by a second click, while the answer is waited for; it can be once its page is come back to.

const SENDING = 10_000;
let sending;

document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  if (sending) event.preventDefault();
  else sending = setTimeout(() => (sending = undefined), SENDING);
});
addEventListener("pageshow", () => (sending = clearTimeout(sending)));
