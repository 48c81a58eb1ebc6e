/* Images from a file, a drop, the clipboard or the camera. None of them leaves this page. */

const MAX_SIDE = 2048; // a larger crop is halved by the canvas first: 64 pixels a cell make the same average
const ACCEPTED = "image/*,.heic,.heif"; // what the browser cannot read gets a sentence

/** Returns a function that reads the middle square of an image or a video: RGBA bytes and its side. */
function createSquareReader() {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  return (source, width, height) => {
    const crop = Math.min(width, height);
    const side = Math.min(crop, MAX_SIDE);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; // transparent pixels lie over white, as in an upload
    context.fillRect(0, 0, side, side);
    context.drawImage(source, (width - crop) >> 1, (height - crop) >> 1, crop, crop, 0, 0, side, side);
    return { rgba: context.getImageData(0, 0, side, side).data.buffer, side };
  };
}

/** A file's image (the first frame), rotated as its EXIF data say, its colors as stored. Throws an Error with a sentence. */
async function decodeFile(file) {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(explainRefusal({ name: file.name || "This file", type: file.type }));
  }
}

/** Why the camera cannot be used, as a sentence for the user. */
function explainCameraError(error) {
  const instead = "Choose an image file instead.";
  if (!window.isSecureContext) {
    return `Browsers open the camera only on https pages, on localhost and in local files. ${instead}`;
  }
  const reasons = {
    NotAllowedError: "Camera access was denied. Allow it in the address bar.",
    SecurityError: "The browser's settings block the camera for this page.",
    NotFoundError: "This device has no camera.",
    OverconstrainedError: "This device has no camera that this page can use.",
    NotReadableError: "Another program is using the camera.",
  };
  return `${reasons[error?.name] ?? "The camera does not work in this browser."} ${instead}`;
}

/** A camera that calls `onFrame(video)` for each new frame until it is stopped, and `onEnd` when it is disconnected. */
function createCamera(onFrame, onEnd) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  let [stream, asked] = [null, 0];

  function waitForFrame() {
    const own = stream;
    const step = () => {
      if (!stream || stream !== own) return;
      onFrame(video);
      waitForFrame();
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(step);
    else requestAnimationFrame(step);
  }

  function stop() {
    asked++; // a camera that is still being opened is not used
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  }

  async function start() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("no mediaDevices");
    const mine = ++asked;
    const opened = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 } },
    });
    if (mine !== asked) return opened.getTracks().forEach((track) => track.stop());
    stream = opened;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      stop();
      onEnd();
    });
    video.srcObject = stream;
    await video.play();
    waitForFrame();
  }

  return { start, stop, isOn: () => stream !== null };
}

/** Accepts files dropped on `zone` and pasted anywhere in the page; returns a function that ends it. */
function acceptFiles(zone, onFile) {
  const drop = (event) => {
    event.preventDefault();
    zone.classList.remove("kd-over");
    if (event.dataTransfer.files[0]) onFile(event.dataTransfer.files[0]);
  };
  const over = (event) => {
    event.preventDefault();
    zone.classList.add("kd-over");
  };
  const paste = (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    onFile(file);
  };
  zone.addEventListener("drop", drop);
  zone.addEventListener("dragover", over);
  zone.addEventListener("dragleave", () => zone.classList.remove("kd-over"));
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
