"""What supernets are built of; maps are (channels, batch, frequency, time)."""
