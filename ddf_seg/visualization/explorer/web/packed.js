// Maps as the page holds them: deflated, in base64, each in an element of its own.

const element = (id) => document.getElementById(id);

async function inflate(blob) {
  const characters = atob(element(`blob-${blob}`).textContent);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).arrayBuffer();
}

// Rows of `width` bytes, or of differences to the byte at the left.
async function unpack(packed, width) {
  const bytes = new Uint8Array(await inflate(packed.blob));
  if (packed.difference) {
    for (let start = 0; start < bytes.length; start += width) {
      for (let i = start + 1; i < start + width; i++) bytes[i] += bytes[i - 1];
    }
  }
  return bytes;
}
