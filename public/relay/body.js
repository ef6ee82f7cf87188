// @ts-check
//
// The body of a response, as it comes.

import { throwUnreachable } from "./errors.js";

/**
 * The text of a body, in pieces. Throws a RelayError if the network fails.
 * @param {ReadableStream<Uint8Array<ArrayBuffer>> | null} body @param {() => void} onData Called for each piece.
 */
export async function* readText(body, onData) {
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  while (reader) {
    const { value, done } = await reader.read().catch(throwUnreachable);
    if (done) return;
    onData();
    yield value;
  }
}
