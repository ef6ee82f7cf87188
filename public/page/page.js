// The page at "/": the guest's view if the address has a code (#ABC1-2345 or ?code=ABC1-2345), else the host's.

import { setCode, showGuest } from "./guest.js";
import { showHost } from "./host.js";
import { find } from "./view.js";

/** The code in the page's address, or null. */
function codeOfAddress() {
  const query = location.hash.length > 1 ? `code=${location.hash.slice(1)}` : location.search;
  return new URLSearchParams(query).get("code");
}

const code = codeOfAddress();
if (code === null) {
  showHost();
  find("#join", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    location.hash = find("#join-code", HTMLInputElement).value.trim();
  });
} else showGuest(code);

addEventListener("hashchange", () => {
  const newCode = codeOfAddress();
  if ((newCode === null) !== (code === null)) location.reload(); // for the other view
  else if (newCode !== null) setCode(newCode);
});
