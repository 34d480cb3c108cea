// Providers that people have: their addresses, and how their keys begin.

import { gettext } from "../shared/words.js";

export const PRESETS = [
  { id: "openai", title: "OpenAI", url: "https://api.openai.com/v1", key: /^sk-(?!ant-|or-)/ },
  { id: "anthropic", title: "Anthropic", kind: "anthropic", url: "", key: /^sk-ant-/ },
  { id: "gemini", title: "Google Gemini", url: "https://generativelanguage.googleapis.com/v1beta/openai", key: /^AIza/ },
  { id: "openrouter", title: "OpenRouter", url: "https://openrouter.ai/api/v1", key: /^sk-or-/ },
  { id: "groq", title: "Groq", url: "https://api.groq.com/openai/v1", key: /^gsk_/ },
  { id: "xai", title: "xAI", url: "https://api.x.ai/v1", key: /^xai-/ },
  { id: "mistral", title: "Mistral", url: "https://api.mistral.ai/v1" },
  { id: "deepseek", title: "DeepSeek", url: "https://api.deepseek.com/v1" },
  { id: "ollama", title: "Ollama", url: "http://localhost:11434/v1", isLocal: true },
  { id: "lmstudio", title: "LM Studio", url: "http://localhost:1234/v1", isLocal: true },
  { id: "vllm", title: "vLLM", url: "http://localhost:8000/v1", isLocal: true },
  { id: "llamacpp", title: "llama.cpp", url: "http://localhost:8080/v1", isLocal: true },
  { id: "other", title: gettext("Another server with OpenAI's API"), url: "" },
];

/** The preset whose keys begin as this one does; undefined if none is known. */
export function presetOfKey(key) {
  return PRESETS.find((preset) => preset.key?.test(key.trim()));
}
