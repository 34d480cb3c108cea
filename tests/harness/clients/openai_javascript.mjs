// OpenAI's own JavaScript client: `node openai_javascript.mjs '{"base_url": …, "folder": …, "agents": {…}}'`.
//
// Prints as JSON what it was answered. With `leave`, it follows a response, each event a line, until it is killed.

import { createRequire } from "node:module";

const parameters = JSON.parse(process.argv[2]);
const { OpenAI } = createRequire(parameters.folder + "/")("openai");
const client = new OpenAI({ baseURL: parameters.base_url, apiKey: "any", timeout: 30_000 });
const messages = [{ role: "user", content: "Hello" }];
const schema = { type: "object", properties: { answer: { type: "integer" } }, required: ["answer"] };

const tokens = (usage) => [usage.prompt_tokens, usage.completion_tokens];

async function whole(model, more = {}) {
  const answer = await client.chat.completions.create({ model, messages, ...more });
  const { message, finish_reason } = answer.choices[0];
  return {
    text: message.content,
    thought: message.reasoning_content,
    finish: finish_reason,
    tokens: tokens(answer.usage),
  };
}

async function streamed(model, result = { text: "", thought: "" }, enough = undefined) {
  const more = { stream: true, stream_options: { include_usage: true } };
  const stream = await client.chat.completions.create({ model, messages, ...more });
  for await (const chunk of stream) {
    if (chunk.usage) result.tokens = tokens(chunk.usage);
    for (const choice of chunk.choices) {
      result.text += choice.delta.content ?? "";
      result.thought += choice.delta.reasoning_content ?? "";
      result.finish = choice.finish_reason ?? result.finish;
    }
    if (result.text === enough) break; // the client hangs up by itself
  }
  return result;
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    return [error.status, error.code, error.param];
  }
}

async function failedLate(model) {
  const result = { text: "", thought: "" };
  try {
    await streamed(model, result);
  } catch (error) {
    return [result.text, error.code];
  }
}

async function responses(agents) {
  const answer = await client.responses.create({ model: agents.plain, input: "Hello" });
  const result = { whole: answer.output_text, streamed: "" };
  for await (const event of await client.responses.create({ model: agents.plain, input: "Hello", stream: true })) {
    if (event.type === "response.output_text.delta") result.streamed += event.delta;
    if (event.type === "response.completed") result.ended = textOf(event.response);
  }
  const text = { format: { type: "json_schema", name: "reply", schema, strict: true } };
  const structured = await client.responses.create({ model: agents.structured, input: "Hello", text });
  return { ...result, structured: JSON.parse(structured.output_text) };
}

const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "get_weather", description: "Tell the weather.", parameters: city };

/** The client's own loop, which executes what is called until there is an answer. */
async function chatLoop(model, stream) {
  const calls = [];
  const execute = (given) => {
    calls.push(["get_weather", given]);
    return "rain";
  };
  const tools = [{ type: "function", function: { ...weather, parse: JSON.parse, function: execute } }];
  const runner = client.chat.completions.runTools({ model, messages, tools, stream });
  return { calls, text: await runner.finalContent() };
}

async function responseLoop(model, stream) {
  const calls = [];
  const tools = [{ type: "function", strict: true, ...weather }];
  let input = "Hello";
  let previous = undefined;
  for (;;) {
    const options = { model, input, tools, previous_response_id: previous };
    const response = stream
      ? await client.responses.stream(options).finalResponse()
      : await client.responses.create(options);
    const made = response.output.filter((item) => item.type === "function_call");
    if (!made.length) return { calls, text: textOf(response) };
    input = made.map((item) => {
      calls.push([item.name, JSON.parse(item.arguments)]);
      return { type: "function_call_output", call_id: item.call_id, output: "rain" };
    });
    previous = response.id;
  }
}

const toolLoops = async (model) => ({
  chat: await chatLoop(model, false),
  chat_streamed: await chatLoop(model, true),
  responses: await responseLoop(model, false),
  responses_streamed: await responseLoop(model, true),
});

const textOf = (response) =>
  response.output
    .filter((item) => item.type === "message")
    .flatMap((item) => item.content.map((part) => part.text))
    .join("");

async function* follow(stream) {
  for await (const event of stream) {
    const line = { type: event.type, number: event.sequence_number, delta: event.delta ?? null };
    if (["response.created", "response.completed"].includes(event.type)) {
      line.id = event.response.id;
      line.text = textOf(event.response);
    }
    yield line;
  }
}

async function everything({ agents, rest }) {
  const format = { type: "json_schema", json_schema: { name: "reply", schema, strict: true } };
  const chat = {
    whole: await whole(agents.plain),
    streamed: await streamed(agents.plain),
    refused: await refused(whole(agents.bad)),
    refused_stream: await refused(streamed(agents.bad)),
    unknown: await refused(whole("nobody")),
    failed_late: await failedLate(agents.late),
    left: (await streamed(agents.endless, undefined, "One")).text,
    structured: JSON.parse((await whole(agents.structured, { response_format: format })).text),
  };
  const rested = [];
  const left = await client.responses.retrieve(rest.id, { stream: true, starting_after: rest.after });
  for await (const line of follow(left)) rested.push(line);
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  const tools = await toolLoops(agents.tools);
  return { promises: chat, responses: await responses(agents), tools, rest: rested, models };
}

if (parameters.leave) {
  const stream = await client.responses.create({ model: parameters.leave, input: "Hello", stream: true });
  for await (const line of follow(stream)) console.log(JSON.stringify(line));
} else {
  console.log(JSON.stringify(await everything(parameters)));
}
