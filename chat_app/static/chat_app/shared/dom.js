// Making and changing elements. What is given as text stays text, never markup.

export function element(name, className = "", ...content) {
  const made = document.createElement(name);
  if (className) {
    made.className = className;
  }
  made.append(...content);
  return made;
}

export function button(words, className, act) {
  const made = element("button", className, words);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** A button that shows a sign; what it does is said to screen readers, and where a mouse rests. */
export function signButton(sign, words, className, act) {
  const made = button(sign, `sign ${className}`, act);
  made.setAttribute("aria-label", words);
  made.title = words;
  return made;
}

export function link(words, address) {
  const made = element("a", "", words);
  made.href = address;
  return made;
}

export function linkElsewhere(words, address) {
  const made = link(words, address);
  made.target = "_blank";
  made.rel = "noopener";
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** All elements of the page that have an id, by it. */
export function elementsById() {
  return Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
}

/** Whether a key is part of an input method's composition. Safari ends it before the Enter that does, whose code is 229. */
export function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}
