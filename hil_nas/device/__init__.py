"""Boards, their hosts and the wire between here and the firmware."""
