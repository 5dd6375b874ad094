// What the node example serves: it says what it was asked, and does some work. SIGTERM ends it when all
// answers are given.
const http = require('node:http');
const crypto = require('node:crypto');

const server = http.createServer((request, response) => {
  const hash = crypto.createHash('sha256');
  request.on('data', (chunk) => hash.update(chunk));
  request.on('end', () => {
    const text = request.url.startsWith('/digest')
      ? hash.digest('hex')
      : `${request.method} ${request.url} by node in a Warder jail`;
    response.writeHead(200, { 'Content-Type': 'text/plain' });
    response.end(`${text}\n`);
  });
});

server.listen(8080, '0.0.0.0', () => console.log('listening on 8080'));
process.on('SIGTERM', () => server.close(() => console.log('bye')));
