// What a typical Node service does: a Set of `ws` sockets, and one send for each when a message is posted.
const http = require('http');
const { WebSocketServer } = require('ws');

const sockets = new Set();
const server = http.createServer((request, response) => {
  let body = '';
  request.on('data', (chunk) => { body += chunk; });
  request.on('end', () => {
    for (const socket of sockets) socket.send(body);
    response.writeHead(204).end();
  });
});
server.keepAliveTimeout = 600000;
const wss = new WebSocketServer({ server, perMessageDeflate: false });
wss.on('connection', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
