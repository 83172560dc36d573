"""Talking to the server: login, requests, patience with weak connections, rights.

Door: `client`, `errors`, `login`, `notices`, `patience`, `rights`.
Imports: `model`.
"""
