// @ts-check
// @ts-self-types="./relay.d.ts"
//
// The client of Parley: import { host, guest } from "https://…/relay.js". relay.d.ts documents its API.

// Every module is named here, so that a browser fetches all of them at once instead of one after the other.
import "./relay/api.js";
import "./relay/approval.js";
import "./relay/body.js";
import "./relay/connection.js";
import "./relay/definitions.js";
import "./relay/dialog.js";
import "./relay/events.js";
import "./relay/host-api.js";
import "./relay/json.js";
import "./relay/lifetime.js";
import "./relay/locks.js";
import "./relay/places.js";
import "./relay/progress.js";
import "./relay/publication.js";
import "./relay/requests.js";
import "./relay/saved-session.js";
import "./relay/session.js";
import "./relay/timing.js";
import "./relay/toolbox.js";

export { RelayError } from "./relay/errors.js";
export { guest } from "./relay/guest.js";
export { host } from "./relay/host.js";
