/* Photos that the server would refuse are made smaller, or PNG, in the browser before they are sent. */

const LIMIT = 5 * 1024 * 1024; // bytes, as `images.decode.MAX_BYTES`
const LARGEST_SIDE = 2048;
const MOST_PIXELS = 10e6; // the least of `images.decode.MAX_MEGAPIXELS`
const PLACE = "[data-testid=stFileUploader]";
const UPLOAD = `${PLACE} input[type=file]`;
const SENT_AS_IT_IS = ["image/png", "image/jpeg", "image/webp"];
const NAMES = /\.(png|jpe?g|webp)$/i; // by which Streamlit accepts a file: a JPEG may be called .jfif, too

let isChecked = false; // while a file that was looked at is handed to Streamlit
let latest = 0; // file: of two, the later one counts, whichever is made smaller sooner

/** Whether the server reads a file as it is, if it has not too many pixels. */
function isAccepted(file) {
  return file.size <= LIMIT && SENT_AS_IT_IS.includes(file.type) && NAMES.test(file.name);
}

/** An image as a JPEG of at most so many pixels a side. */
async function toJpeg(image, largestSide) {
  const scale = Math.min(1, largestSide / Math.max(image.width, image.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff"; // transparent pixels lie over white, as in an upload
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
}

/** The first frame of an image file as a JPEG that the server accepts. Throws where the browser cannot read it. */
async function shrink(file) {
  const image = await createImageBitmap(file);
  let side = LARGEST_SIDE, blob = await toJpeg(image, side);
  while (blob.size > LIMIT) blob = await toJpeg(image, (side /= 2)); // noise hardly compresses
  return new File([blob], `${file.name.replace(/\.[^.]*$/, "")}.jpg`, { type: "image/jpeg" });
}

/** Whether a file that is small enough has few enough pixels, too; what the browser cannot read the server explains. */
async function hasFewPixels(file) {
  if (!isAccepted(file)) return false;
  const image = await createImageBitmap(file).catch(() => null);
  return !image || image.width * image.height <= MOST_PIXELS;
}

/** Shows a sentence below an upload's place, or removes it. */
function sayBelow(input, sentence) {
  const place = input.closest(PLACE) ?? input.parentElement;
  place.querySelector(".kd-refused")?.remove();
  if (!sentence) return;
  const line = Object.assign(document.createElement("p"), { className: "kd-refused", textContent: sentence });
  line.setAttribute("role", "alert");
  place.append(line);
}

/** Hands a file to Streamlit's widget as if it had been chosen. */
function choose(input, file) {
  const chosen = new DataTransfer();
  chosen.items.add(file);
  input.files = chosen.files;
  isChecked = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  isChecked = false;
}

async function shrinkAndChoose(input, file) {
  const mine = ++latest;
  try {
    const small = await hasFewPixels(file) ? file : await shrink(file);
    if (mine !== latest) return;
    sayBelow(input, "");
    choose(input, small);
  } catch {
    if (mine !== latest) return;
    input.value = "";
    sayBelow(input, explainRefusal(file));
  }
}

/** Looks at each file before Streamlit does, whether it was chosen or dropped. */
function watchUploads() {
  const take = (event, input, file) => {
    if (!input || !file || isChecked) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    shrinkAndChoose(input, file);
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches?.(UPLOAD)) take(event, event.target, event.target.files[0]);
  }, true);
  document.addEventListener("drop", (event) => {
    const place = event.target.closest?.(PLACE);
    take(event, place?.querySelector(UPLOAD), event.dataTransfer?.files[0]);
  }, true);
  document.addEventListener("click", (event) => { // another picture: the refusal is no longer about what is shown
    if (event.target.closest?.("[class*=st-key-pick_]")) document.querySelector(".kd-refused")?.remove();
  });
  acceptEverywhere();
}

/** What is dropped or pasted anywhere on a page with a place for photos goes there; Live has its own. */
function acceptEverywhere() {
  const findInput = (event) => {
    const taken = event.composedPath().some((one) => one.matches?.(`${PLACE}, .kd-live, input, textarea`));
    return taken ? null : document.querySelector(`.st-key-photo_input ${UPLOAD}`);
  };
  const give = (event, files) => {
    const input = findInput(event), all = [...(files ?? [])];
    const image = all.find((one) => one.type.startsWith("image/") || !one.type);
    const file = image ?? (event.type === "drop" ? all[0] : null); // no image, which is said
    if (!input || !file) return;
    event.preventDefault();
    shrinkAndChoose(input, file);
  };
  document.addEventListener("dragover", (event) => findInput(event) && event.preventDefault());
  document.addEventListener("drop", (event) => give(event, event.dataTransfer?.files));
  document.addEventListener("paste", (event) => give(event, event.clipboardData?.files));
}
