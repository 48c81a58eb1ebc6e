/* Where pictures come from: a file, a drop, the clipboard, the camera. All of it stays in this page. */

const LARGEST_SIDE = 2048; // a larger crop is halved by the canvas first: 64 pixels a cell make the same average
const KINDS = ["image/png", "image/jpeg", "image/webp"];

/** Reads middle squares off pictures and videos: RGBA bytes of a square. */
function squareReader() {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  return (source, width, height) => {
    const crop = Math.min(width, height);
    const side = Math.min(crop, LARGEST_SIDE);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; // what is transparent lies over white, as in an upload
    context.fillRect(0, 0, side, side);
    context.drawImage(source, (width - crop) >> 1, (height - crop) >> 1, crop, crop, 0, 0, side, side);
    return { rgba: context.getImageData(0, 0, side, side).data.buffer, side };
  };
}

/** A file's picture, turned as its EXIF says, its colours as they are stored. Throws an Error with a sentence. */
async function decodeFile(file) {
  if (file.type && !KINDS.includes(file.type)) throw new Error(`${file.name || "This"} is not a PNG, JPEG or WebP picture.`);
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name || "This"} is not a PNG, JPEG or WebP picture that can be read.`);
  }
}

/** Why there is no camera, as a sentence for whoever asked for it. */
function cameraSentence(error) {
  const instead = "Choose a picture from a file instead.";
  if (!window.isSecureContext) {
    return `Browsers open the camera only for pages from https, from this machine or from its disk. ${instead}`;
  }
  const reasons = {
    NotAllowedError: "The camera was refused. It can be allowed beside the page's address.",
    SecurityError: "The browser's settings keep this page from the camera.",
    NotFoundError: "There is no camera on this device.",
    OverconstrainedError: "There is no camera on this device that this page can use.",
    NotReadableError: "The camera is in use by another program.",
  };
  return `${reasons[error?.name] ?? "This browser gives this page no camera."} ${instead}`;
}

/** A camera that calls `onFrame(video)` for each new frame until it is stopped, and `onEnd` when it goes away. */
function cameraOf(onFrame, onEnd) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  let stream = null;

  function wait() {
    const step = () => {
      if (!stream) return;
      onFrame(video);
      wait();
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(step);
    else requestAnimationFrame(step);
  }

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  }

  async function start() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("no mediaDevices");
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 } },
    });
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      stop();
      onEnd();
    });
    video.srcObject = stream;
    await video.play();
    wait();
  }

  return { start, stop, isOn: () => stream !== null };
}

/** Takes files dropped on `zone`, and pasted anywhere in the page; returns what ends that. */
function takeFiles(zone, onFile) {
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
