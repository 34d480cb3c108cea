// The official TypeScript client asks our MCP server. Arguments: address, token or "", an agent that answers, one that
// never does, the folder with node_modules. Prints what came of it as JSON.
import { pathToFileURL } from "node:url";

const [url, token, agent, slow, folder] = process.argv.slice(2);
const sdk = (name) => import(pathToFileURL(`${folder}/node_modules/@modelcontextprotocol/sdk/dist/esm/client/${name}.js`));
const { Client } = await sdk("index");
const { StreamableHTTPClientTransport } = await sdk("streamableHttp");

const headers = token ? { Authorization: `Bearer ${token}` } : {};
const client = new Client({ name: "test", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));

const tools = (await client.listTools()).tools.map((tool) => tool.name);
const progress = [];
const result = await client.callTool(
  { name: "run_agent", arguments: { message: "6 times 7?", agent_name: agent } },
  undefined,
  { onprogress: (notification) => progress.push(notification.message) },
);

// Stop a call once its run has begun.
const stop = new AbortController();
let runId;
const call = client.callTool({ name: "run_agent", arguments: { message: "go", agent_name: slow } }, undefined, {
  signal: stop.signal,
  onprogress: (notification) => {
    runId ??= notification.message.split(" ")[1];
    if (notification.message.endsWith("has begun.")) stop.abort();
  },
});
const refused = await call.then(() => false, () => true);
const cancelled = await client.callTool({ name: "get_run", arguments: { run_id: runId, wait_seconds: 20 } });

await client.close();
console.log(JSON.stringify({ tools, progress, result, refused, cancelled }));
