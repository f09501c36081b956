// What each of Artillery's users does with its open socket.
const message = "@PAYLOAD@";

module.exports = {
  hold(context, events, done) {
    if (@ECHO@) {
      context.ws.on("message", () => context.ws.send(message));
      context.ws.send(message);
    }
    setTimeout(done, 300000);
  },
};
