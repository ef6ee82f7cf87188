/**
 * A new element. What is sent from elsewhere is only ever text in it, never HTML.
 * @param {string} name @param {object} properties @param {(Node | string)[]} content @returns {any}
 */
export function element(name, properties, ...content) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content);
  return made;
}
