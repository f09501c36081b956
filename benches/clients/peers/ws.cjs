// All connections at once from one event loop; idle, or the next message as soon as the last came back.
const WebSocket = require("ws");

const message = Buffer.from("@PAYLOAD@");

for (let client = 0; client < @CLIENTS@; client++) {
  const socket = new WebSocket("ws://@HOST@:@PORT@/", { perMessageDeflate: false });
  socket.on("error", (error) => console.error(error.message));
  if (@ECHO@) {
    socket.on("open", () => socket.send(message));
    socket.on("message", () => socket.send(message));
  }
}
