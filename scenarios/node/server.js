const WebSocket = require('ws');

// Create a new WebSocket server
const wss = new WebSocket.Server({ port: process.argv[2] });

// Handle new client connections
wss.on('connection', function connection(ws) {
    console.log('A new client connected');
    
    // Send a message to the client
    ws.send('Welcome to the WebSocket server!');
    
    // Close the connection after 5 seconds
    setTimeout(() => {
        ws.send('Closing the connection after 5 seconds');
        ws.close(1000, 'Normal closure');
    }, 5000);
    
    // Handle incoming messages from the client
    ws.on('message', function incoming(message) {
        console.log('Received message from client:', message);
    });

    // Handle WebSocket close event
    ws.on('close', function() {
        console.log('Client disconnected');
    });

    // Handle WebSocket error event
    ws.on('error', function(error) {
        console.error('WebSocket error:', error);
    });
});

console.log('WebSocket server is running on ws://localhost:' + process.argv[2]);
