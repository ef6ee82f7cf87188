// @ts-check
//
// Server-sent events. Unlike in the standard, a lone CR ends no line and an event with empty data is ignored: the relay
// writes neither, and proxies change LF to CRLF at most.
// Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

/** @typedef {{ id: string, event: string, data: string }} ServerEvent */

/** The events of a stream's text, which comes in pieces. @param {AsyncIterable<string>} pieces */
export async function* readEvents(pieces) {
  const parse = eventParser();
  for await (const piece of pieces) yield* parse(piece);
}

/** A function that takes a stream's text piece by piece, and returns the events that each piece completes. */
function eventParser() {
  let line = "";
  let fields = { id: "", event: "message", data: "" };
  return (/** @type {string} */ piece) => {
    /** @type {ServerEvent[]} */
    const events = [];
    const [end, ...next] = piece.split("\n");
    line += end; // and is not searched again: a line of megabytes comes in many pieces
    for (const start of next) {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (text) fields = withField(fields, text);
      else {
        if (fields.data) events.push(fields);
        fields = { id: fields.id, event: "message", data: "" };
      }
      line = start;
    }
    return events;
  };
}

/**
 * An event's fields with one line more. A comment begins with its colon, and so has no name.
 * @param {ServerEvent} fields @param {string} line @returns {ServerEvent}
 */
function withField(fields, line) {
  const [name] = line.split(":", 1);
  const value = line.slice(name.length + 1);
  const content = value.startsWith(" ") ? value.slice(1) : value;
  if (name === "data" && fields.data) return { ...fields, data: `${fields.data}\n${content}` };
  return ["id", "event", "data"].includes(name) ? { ...fields, [name]: content } : fields;
}
