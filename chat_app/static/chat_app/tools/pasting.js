// What people paste to add an MCP server: a command line, an address, or a JSON block of another program's settings.

import { gettext } from "../shared/words.js";

const ADDRESS = /^https?:\/\/\S+$/;
const ASSIGNMENT = /^[A-Za-z_][A-Za-z0-9_]*=/;
const RUNNERS = new Set(["npx", "uvx", "bunx", "pipx", "docker", "node", "python", "python3", "uv", "deno"]);

/** The servers that a text means, as bodies for the API. Throws an Error with a sentence if it means none. */
export function serversOf(text) {
  const written = text.trim();
  if (!written) {
    throw new Error(gettext("Paste a command line, an address, or JSON with mcpServers."));
  }
  if (written.startsWith("{") || written.startsWith('"')) {
    return serversOfJson(written);
  }
  return ADDRESS.test(written) ? [serverOfAddress(nameOfAddress(written), written)] : [serverOfCommand(written)];
}

function serversOfJson(text) {
  const block = parseLoosely(text) ?? parseLoosely(`{${text}}`); // it may be copied without its outer braces
  if (block === undefined || block === null) {
    throw new Error(gettext("This is not complete JSON: copy the whole block, with its braces."));
  }
  const servers = block.mcpServers ?? block.servers ?? block.mcp?.servers ?? block.context_servers ?? block;
  const entries = isServer(servers) ? [["", servers]] : Object.entries(servers).filter(([, each]) => isServer(each));
  if (!entries.length) {
    throw new Error(gettext("There is no server in it: it needs a command or a url."));
  }
  return entries.map(([name, each]) => serverOfEntry(name, each));
}

function parseLoosely(text) {
  try {
    return JSON.parse(text.replace(/,\s*([}\]])/g, "$1"));
  } catch {
    return undefined;
  }
}

function isServer(value) {
  return Boolean(value && typeof value === "object" && (value.command || value.url || value.serverUrl || value.httpUrl));
}

function serverOfEntry(name, entry) {
  const url = entry.url ?? entry.serverUrl ?? entry.httpUrl;
  if (url) {
    const server = serverOfAddress(name ? cleanName(name) : nameOfAddress(url), url);
    const isSse = (entry.type ?? entry.transport) === "sse";
    return { ...server, ...(isSse ? { transport: "sse" } : {}), headers: texts(entry.headers) };
  }
  // Some programs take the command and its arguments as one list, or as one text.
  const [command, ...rest] = [entry.command].flat().map(String);
  const args = [...rest, ...(entry.args ?? [])].map(String);
  const words = args.length || !/\s/.test(command) ? [command, ...args] : wordsOf(command);
  return { name: cleanName(name || nameOfWords(words)), ...stdio(words, texts(entry.env)) };
}

function serverOfAddress(name, url) {
  return { name, transport: new URL(url).pathname.endsWith("/sse") ? "sse" : "streamable_http", url };
}

function serverOfCommand(line) {
  // Prompts, and what other programs' command lines have before the server's own.
  const words = wordsOf(line.replace(/^\$\s+/, "").replace(/\\\r?\n/g, " ").replace(/^(?:claude|codex|gemini) mcp add .*? -- /, ""));
  const env = {};
  while (words.length && ASSIGNMENT.test(words[0])) {
    const [word] = words.splice(0, 1);
    env[word.slice(0, word.indexOf("="))] = word.slice(word.indexOf("=") + 1);
  }
  if (!words.length) {
    throw new Error(gettext("There is no program in this command line."));
  }
  if (words[0] === "-y" || words[0].startsWith("@")) {
    words.unshift("npx", ...(words[0] === "-y" ? [] : ["-y"])); // what the README of a package has in its JSON
  }
  return { name: nameOfWords(words), ...stdio(words, env) };
}

function stdio([command, ...args], env) {
  return { transport: "stdio", command, args, env };
}

/** The words of a command line, as a shell splits it. Nothing is expanded. */
export function wordsOf(line) {
  const words = [];
  for (const [, text] of line.matchAll(/((?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+)/gs)) {
    words.push(
      text.replace(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/gs, (whole, double, single, escaped) =>
        double === undefined ? single ?? escaped : double.replace(/\\(["\\$`])/g, "$1"),
      ),
    );
  }
  return words;
}

function texts(values) {
  return Object.fromEntries(Object.entries(values ?? {}).map(([name, value]) => [name, String(value)]));
}

function nameOfAddress(url) {
  const labels = new URL(url).hostname.split(".").filter((label) => !["www", "mcp", "api"].includes(label));
  return cleanName(labels.length > 1 ? labels.at(-2) : labels[0]);
}

/** The name of the package or program that is run, without what all such names have. */
function nameOfWords(words) {
  const isRunner = RUNNERS.has(words[0].split("/").at(-1));
  const named = isRunner ? words.slice(1).find((word) => !word.startsWith("-") && !["run", "exec", "tool"].includes(word)) : words[0];
  const last = (named ?? words[0]).replace(/[\\/]+$/, "").split("/").at(-1).replace(/(?<=.)@[^@]*$|\.(js|py|ts)$|:[^:]*$/g, "");
  return cleanName(last.replace(/^(mcp-)?server-|^mcp-|-mcp(-server)?$|-server$/g, ""));
}

function cleanName(text) {
  const name = text.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 32).replace(/-+$/, "");
  return name || "server";
}
