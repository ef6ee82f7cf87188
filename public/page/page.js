// The page at "/": the guest's view if the address has a code (?code=), else the host's.

import { showGuest } from "./guest.js";
import { showHost } from "./host.js";

const code = new URLSearchParams(location.search).get("code");
if (code === null) showHost();
else showGuest(code);
