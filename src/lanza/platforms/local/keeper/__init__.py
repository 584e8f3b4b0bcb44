"""The keeper: one small process for each replica, which starts it, watches it and ends it.

It is not the server's child in anything but birth: when the server dies the replica goes on, and the next
server finds it. When no server comes for a while the keeper ends the replica, and itself. It uses the
standard library alone, for it is started each time that an endpoint wakes.
"""
