// Files by OpenAI's own JavaScript client: `node openai_javascript_files.mjs '{"base_url": …, "folder": …, "model": …}'`.
//
// `png`, `pdf` and `wav` are files in base64. Prints as JSON what it was answered.

import { createRequire } from "node:module";

const { base_url: baseURL, api_key: apiKey, folder, model, png, pdf, wav } = JSON.parse(process.argv[2]);
const { OpenAI, toFile } = createRequire(folder + "/")("openai");
const client = new OpenAI({ baseURL, apiKey, timeout: 30_000 });
const pictureUrl = `data:image/png;base64,${png}`;
const document = { filename: "a.pdf", file_data: `data:application/pdf;base64,${pdf}` };

const uploaded = await client.files.create({
  file: await toFile(Buffer.from(png, "base64"), "cat.png"),
  purpose: "vision",
  expires_after: { anchor: "created_at", seconds: 3600 },
});
const content = Buffer.from(await (await client.files.content(uploaded.id)).arrayBuffer()).toString("base64");
const newest = (await client.files.list({ limit: 1 })).data[0].id;
const { filename } = await client.files.retrieve(uploaded.id);
await client.chat.completions.create({
  model,
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "Chat" },
        { type: "image_url", image_url: { url: pictureUrl } },
        { type: "file", file: { file_id: uploaded.id } },
        { type: "file", file: document },
        { type: "input_audio", input_audio: { data: wav, format: "wav" } },
      ],
    },
  ],
});
await client.responses.create({
  model,
  input: [
    {
      role: "user",
      content: [
        { type: "input_text", text: "Response" },
        { type: "input_image", image_url: pictureUrl, detail: "auto" },
        { type: "input_image", file_id: uploaded.id, detail: "auto" },
        { type: "input_file", ...document },
      ],
    },
  ],
});
const { deleted } = await client.files.delete(uploaded.id);
console.log(JSON.stringify({ id: uploaded.id, newest, filename, content, deleted }));
