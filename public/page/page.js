// The page at "/": the host's view, or the guest's where the address names a code.

import { showGuest } from "./guest.js";
import { showHost } from "./host.js";
import { element } from "./view.js";

const code = new URLSearchParams(location.search).get("code");
const view = element(code === null ? "host" : "guest");
view.hidden = false;
if (code === null) showHost();
else showGuest(code);
