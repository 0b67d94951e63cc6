// Building of elements. Text always goes through text nodes: nothing from the data is parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** An element with a class, properties and children, which are nodes or text. */
export function el(tag, className, properties = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes('-') || key === 'role') node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

/** Spans for `[kind, text]` parts, coloured by their kind. */
export const spans = (parts) => parts.map(([kind, text]) => el('span', `tok-${kind}`, {}, text));
