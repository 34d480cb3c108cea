// The side of a narrow page: a drawer over it, which keeps the keyboard inside while it is open.

const NARROW = matchMedia("(max-width: 56rem)");

export function makeDrawer({ side, toggle, shade, rest }) {
  const show = (isOpen) => {
    side.dataset.open = isOpen;
    toggle.setAttribute("aria-expanded", isOpen);
    shade.hidden = !(isOpen && NARROW.matches);
    rest.forEach((node) => (node.inert = isOpen && NARROW.matches));
    side.inert = !isOpen && NARROW.matches;
  };
  const close = () => {
    show(false);
    toggle.focus();
  };
  toggle.addEventListener("click", () => {
    show(side.dataset.open !== "true");
    if (side.dataset.open === "true") {
      side.querySelector("a, button, input").focus();
    }
  });
  shade.addEventListener("click", close);
  side.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && NARROW.matches) {
      event.stopPropagation();
      close();
    }
  });
  NARROW.addEventListener("change", () => show(false));
  show(false);
}
