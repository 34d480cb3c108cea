// Light, dark, or as the system has it. Not a module: it runs before the page is painted, which would flash otherwise.
// The key and its values are those of Django's admin, so that one choice holds for both.
(() => {
  const KEY = "theme";
  const THEMES = ["auto", "light", "dark"];

  function current() {
    const stored = localStorage.getItem(KEY);
    return THEMES.includes(stored) ? stored : "auto";
  }

  function apply() {
    document.documentElement.dataset.theme = current();
    const field = document.getElementById("theme");
    if (field) {
      field.value = current();
    }
  }

  apply();
  addEventListener("storage", (event) => event.key === KEY && apply());
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme")?.addEventListener("change", ({ target }) => {
      localStorage.setItem(KEY, target.value);
      apply();
    });
  });
})();
