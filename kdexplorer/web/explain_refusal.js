/* Why an image file cannot be used: in the upload and in the live view. */

/** What to do with a file that this browser cannot read. */
function explainRefusal({ name, type }) {
  if (/\.hei[cf]$/i.test(name) || /hei[cf]/.test(type)) {
    return `${name} is a HEIC photo, which this browser cannot read. Save it as JPEG and choose that: on an iPhone, ` +
      "copy it into Files, or set Camera > Formats to Most Compatible.";
  }
  return `${name} cannot be read as an image. Choose a PNG, JPEG or WebP file.`;
}
