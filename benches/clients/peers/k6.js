// One connection a virtual user; idle, or the next message as soon as the last came back.
import ws from "k6/ws";

export const options = {
  scenarios: {
    all: { executor: "per-vu-iterations", vus: @CLIENTS@, iterations: 1, maxDuration: "300s" },
  },
};

const message = "@PAYLOAD@";

export default function () {
  ws.connect("ws://@HOST@:@PORT@/", {}, (socket) => {
    if (@ECHO@) {
      socket.on("open", () => socket.send(message));
      socket.on("message", () => socket.send(message));
    }
  });
}
