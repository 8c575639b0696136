"""The Cityscapes classes by name; cityscapesScripts' own table is the only truth for ids."""

from cityscapesscripts.helpers.labels import name2label

VOID = 255


def train_id(name: str) -> int:
    """The trainId of a class by its Cityscapes name (``'traffic light'``); 255 for those not evaluated."""
    return name2label[name].trainId % 256


ROAD = train_id('road')
SIDEWALK = train_id('sidewalk')
BUILDING = train_id('building')
WALL = train_id('wall')
FENCE = train_id('fence')
POLE = train_id('pole')
TRAFFIC_LIGHT = train_id('traffic light')
TRAFFIC_SIGN = train_id('traffic sign')
VEGETATION = train_id('vegetation')
TERRAIN = train_id('terrain')
SKY = train_id('sky')
PERSON = train_id('person')
RIDER = train_id('rider')
CAR = train_id('car')
TRUCK = train_id('truck')
BUS = train_id('bus')
TRAIN = train_id('train')
MOTORCYCLE = train_id('motorcycle')
BICYCLE = train_id('bicycle')

GROUND = (ROAD, SIDEWALK, TERRAIN)
