// JSON on several lines. Its text is laid out anew, not its values: a number that is too long for us stays as it is.

/** The value of a JSON text. Integers that are too long for a number stay as they are, for whoever writes them again. */
export function exact(text) {
  return /\d{16}/.test(text) && JSON.rawJSON ? JSON.parse(text, keepLongInteger) : JSON.parse(text);
}

function keepLongInteger(key, value, context) {
  const isLong = Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source);
  return isLong ? JSON.rawJSON(context.source) : value;
}

const LONGEST = 200_000;

/** The text, laid out if it is a JSON object or list; else null. */
export function laidOut(text) {
  if (text.length > LONGEST || !/^\s*[[{]/.test(text) || !isJSON(text)) {
    return null;
  }
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g);
  let depth = 0;
  let written = "";
  tokens.forEach((token, at) => {
    const before = tokens[at - 1];
    const opens = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      written += opens ? token : newLine(depth) + token;
      return;
    }
    written += opens || before === "," ? newLine(depth) + token : token;
    if (token === ":") {
      written += " ";
    } else if (token === "{" || token === "[") {
      depth += 1;
    }
  });
  return written;
}

function newLine(depth) {
  return `\n${"  ".repeat(depth)}`;
}

function isJSON(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
