"""All users at once; idle, or the next message as soon as the last came back."""

from gevent import sleep
from locust import User, constant, task
from websocket import create_connection


class Client(User):
    """One connection a user."""

    wait_time = constant(0)

    def on_start(self):
        self.socket = create_connection("ws://@HOST@:@PORT@/")

    @task
    def hold(self):
        if not @ECHO@:
            sleep(300)
            return
        self.socket.send("@PAYLOAD@")
        self.socket.recv()
