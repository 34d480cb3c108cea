// Menus of the bar close as people expect it: on Escape, and when something else is clicked.

const openMenus = () => document.querySelectorAll("details.menu[open]");

document.addEventListener("click", ({ target }) => {
  for (const menu of openMenus()) {
    menu.open = menu.contains(target);
  }
});
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Escape" && openMenus().length) {
      event.preventDefault(); // it is the menu that is meant, not what goes on
      for (const menu of openMenus()) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
  },
  { capture: true },
);
