// The interactive description of the API. What is tried out is sent with the browser's session, or with the token
// that is entered under "Authorize", which is kept nowhere.

const place = document.getElementById("api");

SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  docExpansion: "list",
  deepLinking: true,
  filter: true,
  validatorUrl: null, // else it would tell a server on the internet
});
