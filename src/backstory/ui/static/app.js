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
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.querySelector("span").textContent = "Copied";
  });
}
