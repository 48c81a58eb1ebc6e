// Copies a text, or the page's address as it is when the button is pressed.
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.setAttribute("aria-live", "polite");
  const show = (text) => { button.textContent = text; };
  const copyOld = (text) => {  // where the page has no TLS there is no navigator.clipboard
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    parentElement.appendChild(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    button.focus();
    return done;
  };
  button.onclick = async () => {
    const text = data.text || window.location.href;
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch { done = copyOld(text); }
    show(done ? "Copied" : data.text ? "It could not be copied" : "Copy it from the address bar");
    setTimeout(() => show("Copy link"), 2000);
  };
}
